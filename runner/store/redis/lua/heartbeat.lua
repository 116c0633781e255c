#!lua flags=allow-oom
-- Records a worker as alive now; says so when it was not there before.
-- KEYS[1]  the namespace's prefix
-- ARGV     worker id, blob
-- Returns  1 when it is new, else 0

local new = call('HSET', PREFIX .. 'workers', ARGV[1], string.format('%.0f ', now) .. ARGV[2])
if new == 1 then
  publish('workers', ARGV[1])
end
return new
