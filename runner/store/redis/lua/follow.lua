#!lua flags=allow-oom
-- Has the end of an execution told to another one; at once when there is nothing to wait for.
-- KEYS[1]  the partition's prefix
-- ARGV     target, waiter, the waiter's run, workflow that the waiter takes the target for or '' for any, what stands behind the
--          request of a notice at once, 1 when it is expected to come
-- Returns  parcels, or false when it is expected and not there
-- Repeat   finds the waiter there, or sends the same notice again under the same request.
-- Needs    outbox

local target, waiter, run, workflow, suffix, expected = unpack(ARGV)
local r = load(target)
if not r and expected == '1' then
  return false
end
if not r then
  send('ended', waiter, 'ended:' .. target .. ':0' .. suffix, target, run, { 'status', 'unknown' })
elseif workflow ~= '' and r.workflow ~= workflow then
  local about = { 'status', 'mismatch', 'workflow', r.workflow }
  send('ended', waiter, 'mismatch:' .. target .. ':' .. workflow .. suffix, target, run, about)
else
  let_follow(r, waiter, run, suffix)
end
return parcels
