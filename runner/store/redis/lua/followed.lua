#!lua flags=no-writes
-- Whether somebody will hear of an execution's end.
-- KEYS[1]  the partition's prefix
-- ARGV     id, who, in which run
-- Returns  {status, workflow, 1 when it follows}, or false when the execution is not there

local r = load(ARGV[1])
return r and { r.status, r.workflow, call('SISMEMBER', key('s', r.id), ARGV[3] .. ' ' .. ARGV[2]) }
