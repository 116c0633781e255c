#!lua flags=no-writes
-- Where executions stand: what their records say, and what the indexes say of them.
-- KEYS[1]  the partition's prefix
-- ARGV     id, …
-- Returns  {now, {{id, status, run, 1 when owned, 1 when it was ever claimed, deadline, timeout_ms, lease until, ready at,
--          1 when its queue is listed, timer, expiry, 1 when something came since its turn ended}, {missing in},
--          {surplus in}, {fading key}, {wait, value, …}, {child that is not known to have ended}} …}
-- Needs    kin, places

local function unended(r)
  local found = {}
  local links = call('HGETALL', key('c', r.id))
  for i = 1, #links, 2 do
    local _, _, phase = parts_of(links[i + 1])
    if phase and not has_ended(phase) then
      found[#found + 1] = links[i]
    end
  end
  return found
end

-- Its turn has ended with its last commit, which says when.
local function has_news(r)
  local last = string.match(call('LINDEX', key('i', r.id), -1) or '', '^%d+')
  local ended = string.match(r.answer or '', '^%S+ %d+ (%d+) ')
  return last and ended and tonumber(last) > tonumber(ended)
end

local function facts_of(r)
  local missing, surplus = misplaced(r)
  local standing_at = {
    r.id, r.status, r.run, r.nonce ~= '' and 1 or 0, r.started_at and 1 or 0, r.deadline or false,
    call('HGET', key('x', r.id), 'timeout_ms'), call('ZSCORE', LEASES, r.id), call('ZSCORE', READY .. r.queue, r.id),
    call('SISMEMBER', PREFIX .. 'queues', r.queue), call('ZSCORE', TIMERS, r.id), call('ZSCORE', EXPIRY, r.id),
    has_news(r) and 1 or 0,
  }
  return { standing_at, missing, surplus, fading(r), call('HGETALL', key('w', r.id)), unended(r) }
end

local found = {}
for _, id in ipairs(ARGV) do
  local r = load(id)
  if r then
    found[#found + 1] = facts_of(r)
  end
end
return { now, found }
