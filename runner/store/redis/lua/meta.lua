#!lua flags=allow-oom
-- What the namespace was created with; the first to come creates it.
-- KEYS[1]  the namespace's prefix
-- ARGV     partitions, schema
-- Returns  {partitions, schema} as they are

local meta = PREFIX .. 'meta'
call('HSETNX', meta, 'partitions', ARGV[1])
call('HSETNX', meta, 'schema', ARGV[2])
return call('HMGET', meta, 'partitions', 'schema')
