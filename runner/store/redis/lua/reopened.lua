#!lua flags=allow-oom
-- A child of this execution was opened again by an operator: it is known to go on.
-- KEYS[1]  the partition's prefix
-- ARGV     id, the child, "<openings of the child> <when> <run that started it> <its policy, if it was a child's start>"
-- Returns  {reception, false, parcels, rows}
-- Repeat   finds it known. When the execution had not ended at that time and has since, the child is cancelled here:
--          its end did not know of it.
-- Needs    outbox, inbox, kin

local id, child = ARGV[1], ARGV[2]
local openings, at, run, policy = string.match(ARGV[3], '^(%d+) (%d+) (%d+) (%a*)$')
local r = load(id)
if not r then
  return delivered('unknown')
end
mark_reopened(r, child, tonumber(openings), tonumber(run), policy)
if not TERMINAL[r.status] then
  return delivered('delivered')
end
if tonumber(at) <= tonumber(call('HGET', key('x', id), 'ended_at')) then
  cancel_child(r, child)
end
return delivered('terminal')
