#!lua flags=no-writes
-- Reads the outbox, oldest first.
-- KEYS[1]  the partition's prefix
-- ARGV     limit, older_than_ms
-- Returns  {{place, {field, value, …}} …}

return call('XRANGE', PREFIX .. 'outbox', '-', string.format('%.0f', now - ARGV[2]), 'COUNT', ARGV[1])
