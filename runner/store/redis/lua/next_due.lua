#!lua flags=no-writes
-- The earliest time of each index.
-- KEYS[1]  the partition's prefix
-- Returns  {now, timers, leases, ready, expiry, outbox}, each a time or false

local ready = false
for _, queue in ipairs(call('SMEMBERS', PREFIX .. 'queues')) do
  local first = earliest(READY .. queue)
  ready = first and ready and math.min(first, ready) or first or ready
end
local oldest = call('XRANGE', PREFIX .. 'outbox', '-', '+', 'COUNT', 1)[1]
local outbox = oldest and tonumber(string.match(oldest[1], '^%d+')) or false
return { now, earliest(TIMERS), earliest(LEASES), ready, earliest(EXPIRY), outbox }
