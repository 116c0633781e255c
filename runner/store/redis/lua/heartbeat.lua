#!lua flags=allow-oom
-- Records a worker as alive now; says so when it was not there before, and forgets those that are gone for long.
-- KEYS[1]  the namespace's prefix
-- ARGV     worker id, blob
-- Returns  1 when it is new, else 0

local WORKERS = PREFIX .. 'workers'
local new = call('HSET', WORKERS, ARGV[1], string.format('%.0f ', now) .. ARGV[2])
if new == 0 then
  return 0
end
publish('workers', ARGV[1])
local all = call('HGETALL', WORKERS)
for i = 1, #all, 2 do
  -- What tells no time is no heartbeat of ours.
  if (tonumber(string.match(all[i + 1], '^%d+')) or 0) < now - LIMITS.heard then
    call('HDEL', WORKERS, all[i])
  end
end
return new
