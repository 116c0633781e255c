#!lua flags=no-writes
-- Where executions stand: what their records say, and what the indexes say of them.
-- KEYS[1]  the partition's prefix
-- ARGV     id, …
-- Returns  {now, {{id, status, run, 1 when owned, 1 when it was ever claimed, deadline, timeout_ms, lease until, ready at,
--          1 when its queue is listed, timer, expiry, 1 when something came since its turn ended, entries that its journal
--          must have, entries that it has, place of its cancel or false, length of the inbox}, {missing in},
--          {surplus in}, {fading key}, {wait, value, …}, {child that is not known to have ended}} …,
--          or {id, what is wrong, key} for one that cannot be read: its own key, or an index}
-- Needs    kin, places

local TYPES = { x = 'hash', j = 'hash', w = 'hash', i = 'list', d = 'hash', c = 'hash', s = 'set', a = 'list' }
-- Of a record what scripts do not look at, and readers must have.
local READ = { 'input', 'cause', 'parent_run' }

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
    has_news(r) and 1 or 0, r.entries, call('HLEN', key('j', r.id)), r.cancel_index or false,
    call('LLEN', key('i', r.id)),
  }
  return { standing_at, missing, surplus, fading(r), call('HGETALL', key('w', r.id)), unended(r) }
end

-- A key that is something else than it must be, or nil.
local function mistaken(name, wanted)
  local found = call('TYPE', PREFIX .. name).ok
  return found ~= 'none' and found ~= wanted and { 'it is a ' .. found .. ', and must be a ' .. wanted, name }
end

-- Why a look came to nothing: what is wrong, and with which key.
local function diagnosis(r, said)
  for kind, wanted in pairs(TYPES) do
    local wrong = mistaken(kind .. ':' .. r.id, wanted)
    if wrong then
      return wrong
    end
  end
  for _, index in ipairs({ 'ready:' .. r.queue, 'leases', 'timers', 'expiry' }) do
    local wrong = mistaken(index, 'zset')
    if wrong then
      return wrong
    end
  end
  return mistaken('queues', 'set') or { said, 'x:' .. r.id }
end

local function lacks(r)
  for _, field in ipairs(READ) do
    if call('HEXISTS', key('x', r.id), field) == 0 then
      return field
    end
  end
  return nil
end

local function look(id)
  local r, fault = look_at(id)
  local lacking = r and lacks(r)
  if lacking then
    fault = "its field '" .. lacking .. "' is missing"
  end
  if fault then
    return { id, fault, 'x:' .. id }
  end
  if not r then
    return nil
  end
  -- Nothing is written here: what goes wrong with one is no reason not to look at the others.
  local well, one = pcall(facts_of, r)
  if well then
    return one
  end
  local said = type(one) == 'table' and one.err or tostring(one)
  local why, place = unpack(is_damage(said) and diagnosis(r, said))
  return { id, why, place }
end

local found = {}
for _, id in ipairs(ARGV) do
  found[#found + 1] = look(id)
end
return { now, found }
