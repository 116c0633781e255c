#!lua flags=allow-oom
-- Hands an owned execution back whose turn broke: a crash is counted, and one too many ends it.
-- KEYS[1]  the partition's prefix
-- ARGV     id, nonce, crashes that end it, the error it ends with (may be empty)
-- Returns  {now, {wake …}, parcels, rows, 1 when it was one too many}; nothing in it when the lease is not ours
-- Repeat   recognised by what is kept in the place of a commit's answer, until somebody else claims it: the wake while
--          it is ready, or the end.
-- Needs    outbox, kin, ending, crashing

local id, nonce, limit, error = unpack(ARGV)
local r = load(id)
local BROKEN, POISONED = nonce .. ' broken', nonce .. ' poisoned'
local woken, poisoned = false, false

if r and r.nonce ~= '' and r.nonce == nonce then
  woken = crash(r, 'release', true, limit, error)
  poisoned = not woken
  call('HSET', key('x', id), 'answer', poisoned and POISONED or BROKEN)
elseif r and nonce ~= '' and r.nonce == '' and r.last_nonce == nonce then
  woken = r.answer == BROKEN and is_ready(r) and wake(r)
  poisoned = r.answer == POISONED and call('HGET', key('x', id), 'cause') == 'poisoned'
end
return { now, woken and { woken } or {}, parcels, rows, poisoned and 1 or 0 }
