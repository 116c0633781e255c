#!lua flags=allow-oom
-- Hands an owned execution back whose turn broke: a crash is counted, and one too many ends it.
-- KEYS[1]  the partition's prefix
-- ARGV     id, nonce, crashes that end it, the error it ends with (may be empty)
-- Returns  {now, false, {wake …}, parcels, rows}; nothing in it when the lease is not ours (also on a repeat)
-- Needs    outbox, kin, ending, crashing

local id, nonce, limit, error = unpack(ARGV)
local r = load(id)
local woken = false
if r and r.nonce ~= '' and r.nonce == nonce then
  woken = crash(r, 'release', true, limit, error)
end
return { now, false, woken and { woken } or {}, parcels, rows }
