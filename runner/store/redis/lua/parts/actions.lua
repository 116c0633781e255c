-- What an operator can do: for each action whether the status allows it, and what it does. Each act answers whether
-- it made the execution ready. It needs `outbox` and `ending` before it.

local function is_live(r)
  return not TERMINAL[r.status]
end

local allowed = {
  retry = function(r)
    return r.status == 'failed'
  end,
  rollback = function(r)
    return TERMINAL[r.status] and r.status ~= 'completed' and r.outstanding > 0
  end,
  record = function(r)
    return is_live(r) or r.status == 'failed'
  end,
  hurry = is_live,
  force_fail = is_live,
  fork = function()
    return true
  end,
}

-- Takes a lease in the way: no crash is counted, and the owner is told, so that it finds the lease lost.
local function take_lease(r)
  if r.nonce == '' then
    return
  end
  publish('worker/' .. r.worker, r.id)
  set_status(r, after(r.status, 'release'))
  disown(r)
end

local function free(r)
  take_lease(r)
  if is_ready(r) then
    return false
  end
  make_ready(r)
  return true
end

-- An entry's number stands behind one byte of its blob.
local function number_of(blob)
  local _, number = cmsgpack.unpack_one(blob, 1)
  return number
end

local function next_number(r)
  local last = 0
  for _, blob in ipairs(call('HVALS', key('j', r.id))) do
    last = math.max(last, number_of(blob))
  end
  return last + 1
end

local function forget(r, asked, but)
  for _, row in ipairs(asked.drop) do
    if row[1] ~= but then
      count_entries(r, -call('HDEL', key('j', r.id), row[1]))
    end
  end
end

local function put_entry(r, id, blob)
  count_entries(r, call('HSET', key('j', r.id), id, blob))
end

-- The line behind the journal.
local function put_mark(r, asked)
  if asked.mark ~= '' then
    put_entry(r, asked.mark, asked.mark_before .. cmsgpack.pack(next_number(r)) .. asked.mark_behind)
  end
end

-- Its parent takes it for ended: it is to cancel it at its own end, all the same.
local function tell_parent(r)
  local parent, run, policy = unpack(call('HMGET', key('x', r.id), 'parent', 'parent_run', 'parent_close'))
  if parent == '' or string.sub(parent, 1, 1) == '@' then
    return
  end
  local about = string.format('%d %.0f %s %s', r.openings, now, run, policy or '')
  send('reopened', parent, 'reopened:' .. r.id .. ':' .. r.openings, r.id, 0, { 'payload', about })
end

-- Back from its end, to be claimed: `deadline` is the new one, or nil.
local function reopen(r, asked, deadline, rollback)
  forget(r, asked)
  put_mark(r, asked)
  set_status(r, after(r.status, 'reopen'))
  call('ZREM', STUCK, r.id)
  call('ZREM', EXPIRY, r.id)
  call('HDEL', key('x', r.id), 'error', 'escaped', 'ended_at', 'deadline', 'rollback')
  r.openings = r.openings + 1
  call('HSET', key('x', r.id), 'openings', r.openings, 'attempt', 1, 'crashes', 0, 'cause', '')
  if deadline then
    call('HSET', key('x', r.id), 'deadline', deadline)
  end
  if rollback then
    call('HSET', key('x', r.id), 'rollback', 1)
  end
  r.deadline = deadline
  make_ready(r)
  tell_parent(r)
  return true
end

local function forget_escaped(r, entry)
  local escaped = call('HGET', key('x', r.id), 'escaped')
  local left = {}
  for _, id in ipairs(escaped and cmsgpack.unpack(escaped) or {}) do
    if id ~= entry then
      left[#left + 1] = id
    end
  end
  call('HSET', key('x', r.id), 'escaped', cmsgpack.pack(left))
end

local acts = {}

function acts.retry(r, asked)
  local timeout = tonumber(call('HGET', key('x', r.id), 'timeout_ms') or nil)
  return reopen(r, asked, timeout and now + timeout, false)
end

function acts.rollback(r, asked)
  return reopen(r, asked, nil, true)
end

function acts.record(r, asked)
  forget(r, asked, asked.entry)
  local kept = call('HGET', key('j', r.id), asked.entry)
  local number = kept and number_of(kept) or next_number(r)
  put_entry(r, asked.entry, asked.before .. cmsgpack.pack(number) .. asked.behind)
  put_mark(r, asked)
  call('HDEL', key('w', r.id), asked.entry)
  if r.status == 'failed' then
    forget_escaped(r, asked.entry)
    return false
  end
  return free(r)
end

-- A pause that is over makes it ready; when there is none, there is nothing to do.
function acts.hurry(r, asked)
  local hurried = r.status == 'retrying'
  for _, row in ipairs(asked.hurry) do
    local wait = call('HGET', key('w', r.id), row[1])
    if wait then
      local due = string.gsub(wait, '^%S+', string.format('%.0f', now), 1)
      call('HSET', key('w', r.id), row[1], due)
      hurried = true
    end
  end
  return hurried and free(r)
end

function acts.force_fail(r, asked)
  if r.nonce ~= '' then
    publish('worker/' .. r.worker, r.id)
  end
  call('HSET', key('x', r.id), 'error', asked.error)
  finish(r, 'force_fail', 'forced')
  return false
end

function acts.fork()
  return false
end
