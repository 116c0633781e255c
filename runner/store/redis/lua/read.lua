#!lua flags=no-writes
-- An execution with journal, waits and inbox.
-- KEYS[1]  the partition's prefix
-- ARGV     id
-- Returns  the history, or false

return call('EXISTS', key('x', ARGV[1])) == 1 and history(ARGV[1])
