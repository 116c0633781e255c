#!lua flags=allow-oom
-- The workers whose last heartbeat is recent; the others are forgotten, by whoever may.
-- KEYS[1]  the namespace's prefix
-- ARGV     within_ms
-- Returns  {"<seen_at> <blob>" …}

local WORKERS = PREFIX .. 'workers'
local alive, all = {}, call('HGETALL', WORKERS)
for i = 1, #all, 2 do
  local seen_at = tonumber(string.match(all[i + 1], '^%d+'))
  if seen_at < now - ARGV[1] then
    if redis.acl_check_cmd('HDEL', WORKERS, all[i]) then
      call('HDEL', WORKERS, all[i])
    end
  else
    alive[#alive + 1] = all[i + 1]
  end
end
return alive
