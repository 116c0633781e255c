#!lua flags=no-writes
-- A queue's line in one partition.
-- KEYS[1]  the partition's prefix
-- ARGV     queue, a time ('+inf': the end of the line)
-- Returns  {ready, waiting in line, of these before that time, when the first became ready or false}

local queue, since = unpack(ARGV)
local line = LINE .. queue
local before = call('ZCOUNT', line, '-inf', '(' .. since)
return { call('ZCARD', READY .. queue), call('ZCARD', line), before, earliest(line) }
