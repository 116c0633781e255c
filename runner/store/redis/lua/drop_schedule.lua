#!lua flags=allow-oom
-- Removes a schedule of this revision.
-- KEYS[1]  the namespace's prefix
-- ARGV     id, revision
-- Returns  1 when it is not there (any more), else 0
-- Needs    timetable

local kept, expected = call('HGET', SCHEDULES, ARGV[1]), ARGV[2] .. ' '
if kept and string.sub(kept, 1, #expected) ~= expected then
  return 0
end
call('HDEL', SCHEDULES, ARGV[1])
call('ZREM', NAMES_IN_ORDER, ARGV[1])
call('ZREM', DUE, ARGV[1])
return 1
