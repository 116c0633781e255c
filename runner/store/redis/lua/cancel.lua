#!lua flags=allow-oom
-- Asks for an execution's end: at once when no worker ever had it, else by its own code.
-- KEYS[1]  the partition's prefix
-- ARGV     id, request, item, reason
-- Returns  {reception, wake or false}
-- Repeat   recognised by the request, also after the end. A second cancel has no effect.

local id, request, item, reason = unpack(ARGV)
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
if r.status == 'cancelling' then
  call('HSET', key('d', id), request, 0)
  return { 'delivered', false }
end

local never_claimed = r.status == 'pending' and not r.started_at
local status = after(r.status, never_claimed and 'abandon' or 'cancel')
call('HSET', key('x', id), 'reason', reason, 'cancel_index', append(r, request, item))
if never_claimed then
  finish(r, 'abandon', '')
  return { 'delivered', false }
end
set_status(r, status)
return { 'delivered', rouse(r, request) }
