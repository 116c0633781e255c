#!lua flags=allow-oom
-- A worker cannot run this ready execution: it is offered again later, and later still the next time.
-- KEYS[1]  the partition's prefix
-- ARGV     id, reason, token
-- Returns  1 when it was ready, else 0
-- Repeat   recognised by the token, so that a lost reply does not double the delay.

local id, reason, token = unpack(ARGV)
local r = look_at(id)
if not r or TERMINAL[r.status] or r.nonce ~= '' or not is_ready(r) then
  return 0
end
if r.pass_token == token then
  return 1
end
local delay = math.min(LIMITS.pass_first * 2 ^ math.min(r.passes, 30), LIMITS.pass_last)
call('HSET', key('x', id), 'passed', reason, 'passes', r.passes + 1, 'pass_token', token)
call('ZADD', READY .. r.queue, now + delay, id)
call('ZREM', LINE .. r.queue, id)
call('ZADD', passed_key(r), now, id)
return 1
