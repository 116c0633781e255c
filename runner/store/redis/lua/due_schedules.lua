#!lua flags=no-writes
-- The schedules whose time has come, the longest due first.
-- KEYS[1]  the namespace's prefix
-- ARGV     limit
-- Returns  {now, when the first behind them is due or false, {schedule …}}
-- Needs    timetable

local ids = due_in(DUE, ARGV[1])
local behind = call('ZRANGE', DUE, #ids, #ids, 'WITHSCORES')[2]
return { now, behind and tonumber(behind) or false, ids[1] and call('HMGET', SCHEDULES, unpack(ids)) or {} }
