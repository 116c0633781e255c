#!lua flags=allow-oom
-- Offers passed-over executions again, now: a worker that knows them has come.
-- KEYS[1]  the partition's prefix
-- ARGV     limit, then workflow, version, …
-- Returns  {wake …}
-- They stay passed over until they are claimed; those offered longest ago come first, so that a repeat goes on.

local wakes, limit = {}, tonumber(ARGV[1])
for i = 2, #ARGV, 2 do
  local index = PREFIX .. 'passed:' .. ARGV[i] .. ':' .. ARGV[i + 1]
  for _, id in ipairs(call('ZRANGE', index, 0, limit - #wakes - 1)) do
    local r = look_at(id)
    if not r or r.nonce ~= '' or not is_ready(r) then
      call('ZREM', index, id)
    else
      call('ZADD', READY .. r.queue, now + LIMITS.grace, id)
      call('ZADD', index, now, id)
      wakes[#wakes + 1] = wake(r)
    end
  end
  if #wakes >= limit then
    break
  end
end
return wakes
