#!lua flags=allow-oom
-- Ready executions past their grace; each is pushed into the future, so that the next look finds others.
-- KEYS[1]  the partition's prefix
-- ARGV     limit, backoff_ms
-- Returns  {now, earliest ready entry left or false, {lost wake …}, {passed wake …}, {queue, ready count, …}}
-- The limit is shared so that a queue with a backlog cannot hide a lost hint of another.

local limit, backoff = tonumber(ARGV[1]), tonumber(ARGV[2])
local queues = {}
for _, queue in ipairs(call('SMEMBERS', PREFIX .. 'queues')) do
  local ready = call('ZCARD', READY .. queue)
  if ready == 0 then
    call('SREM', PREFIX .. 'queues', queue)
  else
    queues[#queues + 1] = { name = queue, ready = ready, due = call('ZCOUNT', READY .. queue, '-inf', now) }
  end
end
table.sort(queues, function(one, other)
  return one.due == other.due and one.name < other.name or one.due < other.due
end)

local lost, passed, counts, first = {}, {}, {}, false
local function offer(queue, id)
  local r, fault = load_due(READY .. queue.name, id)
  if fault then
    return -- it comes again later
  end
  if not r or TERMINAL[r.status] or r.nonce ~= '' then
    call('ZREM', READY .. queue.name, id)
    call('ZREM', LINE .. queue.name, id)
    return
  end
  call('ZADD', READY .. queue.name, now + backoff, id)
  local into = r.passed ~= '' and passed or lost
  into[#into + 1] = wake(r)
end

for i, queue in ipairs(queues) do
  local share = math.floor(limit / (#queues - i + 1))
  local ids = due_in(READY .. queue.name, share)
  for _, id in ipairs(ids) do
    offer(queue, id)
  end
  limit = limit - #ids
  counts[#counts + 1] = queue.name
  counts[#counts + 1] = queue.ready
  local left = earliest(READY .. queue.name)
  first = left and first and math.min(first, left) or left or first
end
return { now, first, lost, passed, counts }
