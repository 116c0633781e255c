#!lua flags=allow-oom
-- Has a schedule looked at now, if it is there and was not to be before.
-- KEYS[1]  the namespace's prefix
-- ARGV     id
-- Returns  nothing
-- Needs    timetable

local id = ARGV[1]
local due_at = tonumber(call('ZSCORE', DUE, id) or '')
if call('HEXISTS', SCHEDULES, id) == 1 and (not due_at or due_at > now) then
  set_due(id, now)
end
