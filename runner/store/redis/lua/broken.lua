#!lua flags=allow-oom
-- Notes that the server came back with less durability than is declared: once for each start of it, whoever finds it.
-- KEYS[1]  the namespace's prefix
-- ARGV     the server's run id, why
-- Returns  how often that has happened

local meta = PREFIX .. 'meta'
if call('HGET', meta, 'broken_run') ~= ARGV[1] then
  call('HINCRBY', meta, 'breaks', 1)
  call('HSET', meta, 'broken_run', ARGV[1], 'broken_at', now, 'broken_why', ARGV[2])
end
return tonumber(call('HGET', meta, 'breaks'))
