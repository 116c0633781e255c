#!lua flags=no-writes
-- An execution's record.
-- KEYS[1]  the partition's prefix
-- ARGV     id
-- Returns  {lease until or false, {field, value, …}}

return { call('ZSCORE', LEASES, ARGV[1]), call('HGETALL', key('x', ARGV[1])) }
