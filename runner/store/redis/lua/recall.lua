#!lua flags=no-writes
-- Answers a repeat of a start or a signal that was applied, where the script itself is refused for want of memory.
-- KEYS[1]  the partition's prefix
-- ARGV     'start' or 'signal', id, request
-- Returns  what the script answers to a repeat, or false when it is none
-- Needs    inbox, starting

local kind, id, request = unpack(ARGV)
local r = load(id)
if not r then
  return false
end
if kind == 'start' then
  return r.request == request and started(r, request)
end
return call('HEXISTS', key('d', id), request) == 1 and settled(r, request, '0')
