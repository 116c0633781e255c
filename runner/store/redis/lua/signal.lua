#!lua
-- Appends a signal to an inbox.
-- KEYS[1]  the partition's prefix
-- ARGV     id, request, item
-- Returns  {reception, wake or false}
-- Repeat   recognised by the request, also after the end.
-- New work: refused when the server is at its memory limit.

local id, request, item = unpack(ARGV)
local r = load(id)
if not r then
  return { 'unknown', false }
end
local before = delivered_before(r, request)
if before then
  return before
end
if is_terminal(r.status) then
  return { 'terminal', false }
end
append(r, request, item)
-- A signal shortens neither a delayed start nor the delay before a retry: the timer is the wake source.
if r.nonce == '' and (r.status == 'pending' or r.status == 'retrying') then
  return { 'delivered', false }
end
return { 'delivered', rouse(r, request) }
