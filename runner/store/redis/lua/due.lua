#!lua flags=allow-oom
-- Makes executions ready whose timer has come; ends those whose own deadline has passed.
-- KEYS[1]  the partition's prefix
-- ARGV     limit
-- Returns  {now, earliest timer left or false, {wake …}, parcels, rows}
-- Repeat   finds the rest; wakes of a lost reply are ready entries, and `overdue` offers them.
-- Needs    outbox, kin, ending

local wakes = {}
for _, id in ipairs(due_in(TIMERS, ARGV[1])) do
  local r, fault = load_due(TIMERS, id)
  if fault then
    -- It comes again later.
  elseif not r or TERMINAL[r.status] or r.nonce ~= '' then
    call('ZREM', TIMERS, id)
  elseif is_late(r) then
    finish(r, 'time_out', 'timed_out')
  elseif is_ready(r) then
    set_timer(r, r.deadline)
  else
    wakes[#wakes + 1] = make_ready(r)
  end
end
return { now, earliest(TIMERS), wakes, parcels, rows }
