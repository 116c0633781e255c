#!lua flags=allow-oom
-- What the namespace was created with; the first to come creates it, the first to declare a durability declares it.
-- Later ones only look: they need not be allowed more.
-- KEYS[1]  the namespace's prefix
-- ARGV     partitions, schema, durability or ''
-- Returns  {partitions, schema, durability or ''} as they are

local meta = PREFIX .. 'meta'
if call('HLEN', meta) < 2 then
  call('HSETNX', meta, 'partitions', ARGV[1])
  call('HSETNX', meta, 'schema', ARGV[2])
end
if ARGV[3] ~= '' and call('HEXISTS', meta, 'durability') == 0 then
  call('HSET', meta, 'durability', ARGV[3])
end
local found = call('HMGET', meta, 'partitions', 'schema', 'durability')
return { found[1], found[2], found[3] or '' }
