#!lua flags=allow-oom
-- Takes the lease of a ready execution.
-- KEYS[1]  the partition's prefix
-- ARGV     id, nonce, worker, lease_ms, the seq of the hint that led here or 0
-- Returns  {'ok', history, rows}, or {the refusal, rows}: a loss is told of also where the claim is refused
-- Repeat   recognised by the nonce while its lease lives, and the lease begins anew. The nonce of a lease that
--          is over is refused: a claim that comes very late must not take what its sender gave back.
-- Needs    outbox, kin, ending, losses

local id, nonce, worker, lease_ms, hinted = unpack(ARGV)
local r = load(id)
hinted = tonumber(hinted)
if not r and hinted > 0 and is_gone(id) then
  return { 'terminal', rows }
end
if not r then
  if hinted > 0 then
    lose('orphaned', id)
  end
  return { 'unknown', rows }
end
rewind(r, hinted)
if r.nonce == nonce then
  call('ZADD', LEASES, now + lease_ms, id)
  return { 'ok', history(id), rows }
end
if TERMINAL[r.status] then
  return { 'terminal', rows }
end
if r.nonce ~= '' then
  return { 'owned', rows }
end
if is_late(r) then
  finish(r, 'time_out', 'timed_out')
  return { 'terminal', rows }
end
if r.last_nonce == nonce or not is_ready(r) then
  return { 'idle', rows }
end

-- Before the first write: whoever cannot be given it must not own it.
local read = belongings(id)
local status = after(r.status, 'claim')
set_status(r, status, { worker = worker })
forget_reason(r)
call('HSET', key('x', id), 'nonce', nonce, 'worker', worker, 'count', 0)
call('HSETNX', key('x', id), 'started_at', now)
call('ZREM', READY .. r.queue, id)
call('ZREM', LINE .. r.queue, id)
call('ZREM', TIMERS, id)
call('ZADD', LEASES, now + lease_ms, id)
return { 'ok', history(id, read), rows }
