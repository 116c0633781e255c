#!lua flags=no-writes
-- How many executions of a partition are ready, by queue.
-- KEYS[1]  the partition's prefix
-- Returns  {queue, count, …}

local counts = {}
for _, queue in ipairs(call('SMEMBERS', PREFIX .. 'queues')) do
  local ready = call('ZCARD', READY .. queue)
  if ready > 0 then
    counts[#counts + 1] = queue
    counts[#counts + 1] = ready
  end
end
return counts
