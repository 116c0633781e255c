#!lua flags=allow-oom
-- Compares and sets one schedule.
-- KEYS[1]  the namespace's prefix
-- ARGV     id, revision, created_at, due_at ('' for never), blob
-- Returns  1 when it is stored, 0 when what is kept is not the revision before it, made at the same time
-- Repeat   recognised by its content
-- Needs    timetable

local id, revision, created_at, due_at = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local new, kept = ARGV[2] .. ' ' .. created_at .. ' ' .. ARGV[5], call('HGET', SCHEDULES, id)
if kept == new then
  return 1
end
local expected = string.format('%.0f ', revision - 1) .. created_at .. ' '
if kept and string.sub(kept, 1, #expected) ~= expected or not kept and revision ~= 1 then
  return 0
end
call('HSET', SCHEDULES, id, new)
call('ZADD', NAMES_IN_ORDER, 0, id)
if due_at then
  set_due(id, due_at)
else
  call('ZREM', DUE, id)
end
return 1
