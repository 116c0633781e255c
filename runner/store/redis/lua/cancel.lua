#!lua flags=allow-oom
-- Asks for an execution's end: at once when no worker ever had it, else by its own code.
-- KEYS[1]  the partition's prefix
-- ARGV     id, request, run or 0 for any, reason, blob, ms that a tombstone lasts or 0 for none
-- Returns  {reception, wake or false, parcels, rows}
-- Repeat   recognised by the request, also after the end. A second cancel has no effect.
-- Needs    outbox, kin, ending, inbox, cancelling

local id, request, run, reason, blob, lasting = unpack(ARGV)
local r = load(id)
if not r then
  if lasting == '0' then
    return delivered('unknown')
  end
  if call('EXISTS', key('t', id)) == 0 then
    call('HSET', key('t', id), 'request', request, 'reason', reason, 'blob', blob)
    call('PEXPIRE', key('t', id), lasting)
  end
  return delivered('delivered')
end
local before = settled(r, request, run)
if before then
  return before
end
if r.status == 'cancelling' then
  call('HSET', key('d', id), request, 0)
  return delivered('delivered')
end
return delivered('delivered', receive_cancel(r, request, reason, blob))
