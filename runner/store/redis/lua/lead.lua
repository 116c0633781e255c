#!lua flags=allow-oom
-- Takes or keeps the scheduler's lease.
-- KEYS[1]  the namespace's prefix
-- ARGV     nonce, name, ttl_ms
-- Returns  {1 when the asker leads, the leader's name, ms until the lease runs out}

local seat = PREFIX .. 'leader'
local holder = call('HGET', seat, 'nonce')
if holder and holder ~= ARGV[1] then
  return { 0, call('HGET', seat, 'name'), math.max(call('PTTL', seat), 0) }
end
call('HSET', seat, 'nonce', ARGV[1], 'name', ARGV[2])
call('PEXPIRE', seat, ARGV[3])
return { 1, ARGV[2], tonumber(ARGV[3]) }
