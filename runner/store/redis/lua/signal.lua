#!lua
-- Appends a signal to an inbox.
-- KEYS[1]  the partition's prefix
-- ARGV     id, request, run or 0 for any, name, blob
-- Returns  {reception, wake or false, parcels, rows}
-- Repeat   recognised by the request, also after the end.
-- Needs    inbox
-- New work: refused when the server is at its memory limit.

local id, request, run, name, blob = unpack(ARGV)
local r = load(id)
if not r then
  return delivered('unknown')
end
return settled(r, request, run) or delivered('delivered', receive(r, request, 'signal', name, blob))
