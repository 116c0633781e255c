#!lua flags=no-writes
-- Schedules by id.
-- KEYS[1]  the namespace's prefix
-- ARGV     limit, id that they come behind or ''
-- Returns  {schedule …}
-- Needs    timetable

local ids = call('ZRANGEBYLEX', NAMES_IN_ORDER, ARGV[2] == '' and '-' or '(' .. ARGV[2], '+', 'LIMIT', 0, ARGV[1])
return ids[1] and call('HMGET', SCHEDULES, unpack(ids)) or {}
