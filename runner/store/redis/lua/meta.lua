#!lua flags=allow-oom
-- What the namespace was created with; the first to come creates it. Later ones only look: they need not be allowed more.
-- KEYS[1]  the namespace's prefix
-- ARGV     partitions, schema
-- Returns  {partitions, schema} as they are

local meta = PREFIX .. 'meta'
if call('HLEN', meta) < 2 then
  call('HSETNX', meta, 'partitions', ARGV[1])
  call('HSETNX', meta, 'schema', ARGV[2])
end
return call('HMGET', meta, 'partitions', 'schema')
