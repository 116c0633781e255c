#!lua flags=no-writes
-- Who holds the scheduler's lease.
-- KEYS[1]  the namespace's prefix
-- Returns  {the leader's name, ms until the lease runs out}, or false

local name = call('HGET', PREFIX .. 'leader', 'name')
return name and { name, math.max(call('PTTL', PREFIX .. 'leader'), 0) }
