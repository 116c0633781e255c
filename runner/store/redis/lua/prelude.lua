-- What every script begins with: the loader puts this text, and the tables AFTER, TERMINAL and LIMITS, after its
-- shebang, and then those of `parts/` that the script's line "Needs" names.
--
-- KEYS[1] is a prefix, "runner:{<namespace>:<partition>}:" or "runner:{<namespace>}:", and every key is derived
-- from it. That is sound because all keys of a prefix carry the same hash tag: they are in one slot by
-- construction, and an access rule on the prefix covers them all.
--
-- Three rules hold in every script. Lua has no rollback: all checks come before the first write. All time
-- is the server's: `now`, in ms. Payloads are opaque: what a script must read stands as text before them.

local call = redis.call
local PREFIX = KEYS[1]
local NAMESPACE, PARTITION = string.match(PREFIX, '^runner:{([^:}]*):?(%d*)}:$')
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local READY, LEASES, TIMERS, EXPIRY = PREFIX .. 'ready:', PREFIX .. 'leases', PREFIX .. 'timers', PREFIX .. 'expiry'
-- Of a queue what is ready and was not passed over, by when it became ready: nothing is decided by it, it is to be looked at.
local LINE = PREFIX .. 'line:'

local function key(kind, id)
  return PREFIX .. kind .. ':' .. id
end

local function publish(topic, word)
  call('PUBLISH', 'runner:' .. NAMESPACE .. ':' .. topic, word)
end

-- The status after a move. An error here is a bug of ours, so it must come before the first write.
local function after(status, move)
  local to = AFTER[status][move]
  if not to then
    error({ err = 'ERR an execution that is ' .. status .. ' cannot ' .. move })
  end
  return to
end

local NAMES = {
  'status', 'nonce', 'worker', 'queue', 'workflow', 'version', 'created_at', 'started_at', 'deadline', 'retention',
  'seq', 'count', 'crashes', 'attempt', 'passes', 'passed', 'pass_token', 'cancel_index', 'last_nonce', 'answer',
  'request', 'digest', 'run', 'openings', 'outstanding', 'audit', 'entries',
}
local NUMBERS = {
  'created_at', 'started_at', 'deadline', 'retention', 'seq', 'count', 'crashes', 'attempt', 'passes', 'cancel_index',
  'run', 'openings', 'outstanding', 'audit', 'entries',
}
-- What every record has from its start on.
local NEEDED = {
  'nonce', 'worker', 'queue', 'workflow', 'version', 'created_at', 'retention', 'seq', 'count', 'crashes', 'attempt', 'passes',
  'passed', 'last_nonce', 'request', 'digest', 'run', 'openings', 'outstanding', 'audit', 'entries',
}

local function fault_of(r)
  if not AFTER[r.status] then
    return "its status is '" .. r.status .. "', which is none"
  end
  for _, name in ipairs(NEEDED) do
    if r[name] == nil then
      return "its field '" .. name .. "' is missing, or is no number"
    end
  end
  return nil
end

-- True where what went wrong with a look tells of damage: a key that is something else than it must be, or content that
-- Lua stumbles over. What else the server refuses, as by an access rule, is no fault of any record and is raised: a store
-- that may not be read must not look like one that is damaged.
local function is_damage(said)
  if string.match(said, '^%u+ ') and string.sub(said, 1, 9) ~= 'WRONGTYPE' then
    error({ err = said })
  end
  return true
end

-- What decisions need of a record, without its payloads; nil when there is none, and what is wrong when it cannot be read.
local function look_at(id)
  local values = redis.pcall('HMGET', key('x', id), unpack(NAMES))
  if values.err and is_damage(values.err) then
    return nil, 'its key is no hash'
  end
  if not values[1] then
    return nil, call('EXISTS', key('x', id)) == 1 and 'it has no status' or nil
  end
  local r = { id = id }
  for i, name in ipairs(NAMES) do
    r[name] = values[i] or nil
  end
  for _, name in ipairs(NUMBERS) do
    r[name] = tonumber(r[name])
  end
  local fault = fault_of(r)
  if fault then
    return nil, fault
  end
  return r, nil
end

-- The same, for who asks about this one. An error that is known by its first word: it comes before the first write.
local function load(id)
  local r, fault = look_at(id)
  if fault then
    error({ err = 'UNREADABLE ' .. fault .. ' (' .. id .. ')' })
  end
  return r
end

-- The same, for who goes through an index of times: one that cannot be read comes again later, and holds up no other.
local function load_due(index, id)
  local r, fault = look_at(id)
  if fault then
    call('ZADD', index, now + LIMITS.pass_last, id)
  end
  return r, fault
end

local function is_ready(r)
  return call('ZSCORE', READY .. r.queue, r.id) ~= false
end

local function is_late(r)
  return r.deadline ~= nil and r.deadline <= now
end

local function wake(r)
  return { r.id, r.queue, r.workflow, r.version, r.seq }
end

local function passed_key(r)
  return PREFIX .. 'passed:' .. r.workflow .. ':' .. r.version
end

-- The indexes that change with the status; `by:all` and `by:workflow:<w>` last as long as the record.
local function status_indexes(r, status)
  return PREFIX .. 'by:status:' .. status, PREFIX .. 'by:both:' .. status .. ':' .. r.workflow
end

local function enter_status(r, status)
  local one, both = status_indexes(r, status)
  call('ZADD', one, r.created_at, r.id)
  call('ZADD', both, r.created_at, r.id)
end

local function leave_status(r)
  local one, both = status_indexes(r, r.status)
  call('ZREM', one, r.id)
  call('ZREM', both, r.id)
end

-- What this call adds to audit trails and to the outbox: its answer tells both.
local rows, parcels = {}, {}

-- A row that is packed already. The trail keeps the last ones; the answer has it also when there is no trail.
local function add_row(r, row)
  rows[#rows + 1] = { r.id, row }
  if r.audit > 0 and call('RPUSH', key('a', r.id), row) > r.audit then
    call('LTRIM', key('a', r.id), -r.audit, -1)
  end
end

-- A row of the store's own. Its fields are plain texts and numbers: an opaque payload must not be packed as text.
local function audit(r, kind, fields)
  add_row(r, cmsgpack.pack({ now, kind, fields }))
end

-- `about` is what the audit row says of the change beside from and to.
local function set_status(r, status, about)
  if status == r.status then
    return
  end
  leave_status(r)
  enter_status(r, status)
  call('HSET', key('x', r.id), 'status', status)
  local fields = about or {}
  fields.from, fields.to = r.status, status
  audit(r, 'status', fields)
  r.status = status
end

-- The one timer of an execution, or none. A scheduler that sleeps until a later one is told.
local function set_timer(r, at)
  if not at then
    call('ZREM', TIMERS, r.id)
    return
  end
  local first = call('ZRANGE', TIMERS, 0, 0, 'WITHSCORES')
  call('ZADD', TIMERS, at, r.id)
  if not first[1] or at < tonumber(first[2]) then
    publish('timers', PARTITION)
  end
end

-- Every wake-up goes through here: one more in `seq`, due for a look after the grace, its timer at the deadline.
local function make_ready(r)
  r.seq = r.seq + 1
  call('HSET', key('x', r.id), 'seq', r.seq)
  call('ZADD', READY .. r.queue, now + LIMITS.grace, r.id)
  call('ZADD', LINE .. r.queue, now, r.id)
  call('SADD', PREFIX .. 'queues', r.queue)
  set_timer(r, r.deadline)
  return wake(r)
end

-- The lease is over. Its nonce is kept, so that a claim that was on its way for long cannot take it again.
local function disown(r)
  call('HSET', key('x', r.id), 'nonce', '', 'worker', '', 'last_nonce', r.nonce)
  call('ZREM', LEASES, r.id)
  r.last_nonce, r.nonce, r.worker = r.nonce, '', ''
end

-- Off the index of what was passed over. The number of passes stays: a turn that cannot get on is claimed and
-- passed over again and again, and must be offered ever more seldom.
local function forget_reason(r)
  if r.passes > 0 then
    call('HSET', key('x', r.id), 'passed', '')
    call('ZREM', passed_key(r), r.id)
    r.passed = ''
  end
end

local function forget_passes(r)
  if r.passes > 0 then
    forget_reason(r)
    call('HSET', key('x', r.id), 'passes', 0)
    r.passes = 0
  end
end

-- The record knows how long its journal is: what is missing then was taken from it by hand. `change` has been made.
local function count_entries(r, change)
  if change == 0 then
    return
  end
  r.entries = r.entries + change
  call('HSET', key('x', r.id), 'entries', r.entries)
end

-- What belongs to a record: its journal, its open waits and its inbox.
local function belongings(id)
  return { call('HGETALL', key('j', id)), call('HGETALL', key('w', id)), call('LRANGE', key('i', id), 0, -1) }
end

-- All that replay needs, with the record as it is now.
local function history(id, read)
  return { now, call('ZSCORE', LEASES, id), call('HGETALL', key('x', id)), unpack(read or belongings(id)) }
end

-- The earliest score of a time index, or false.
local function earliest(index)
  local first = call('ZRANGE', index, 0, 0, 'WITHSCORES')
  return first[2] and tonumber(first[2]) or false
end

local function due_in(index, limit)
  return call('ZRANGEBYSCORE', index, '-inf', now, 'LIMIT', 0, limit)
end
