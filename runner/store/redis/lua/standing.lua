#!lua flags=no-writes
-- Where an execution stands, as far as its own partition knows.
-- KEYS[1]  the partition's prefix
-- ARGV     id, queue
-- Returns  {since in the line, offered at, timer, oldest of the outbox}, each a time or false

local id, queue = unpack(ARGV)
local oldest = call('XRANGE', PREFIX .. 'outbox', '-', '+', 'COUNT', 1)[1]
local outbox = oldest and tonumber(string.match(oldest[1], '^%d+')) or false
return { call('ZSCORE', LINE .. queue, id), call('ZSCORE', READY .. queue, id), call('ZSCORE', TIMERS, id), outbox }
