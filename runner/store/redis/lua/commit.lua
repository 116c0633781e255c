#!lua flags=allow-oom
-- The fenced write of a turn, and its end when one is asked.
-- KEYS[1]  the partition's prefix
-- ARGV     id, nonce, count, lease_ms, seen, then five lists and the end, each list led by its length:
--          entries (id, blob), opens (id, after_ms, until_ms, replace, blob), closes (id),
--          outgoing (target, request, kind, name, payload), drop (id); kind of the end ('' for none), its blob,
--          its after_ms
-- Returns  {'ok', now, 1 when released, status, {deadline or '' per open}, {inbox items behind seen}},
--          {'lost'} when the lease is not ours, {'conflict', id} when an entry contradicts what is recorded
-- Repeat   recognised by nonce and count before anything else is looked at, and answered from the answer that is
--          kept, also when that commit released; where it did not, the lease is extended again. An older count is
--          a write that comes too late: 'lost'.

local cursor = 5
local function take()
  cursor = cursor + 1
  return ARGV[cursor]
end
local function take_list(width)
  local rows = {}
  for i = 1, tonumber(take()) do
    local row = {}
    for j = 1, width do
      row[j] = take()
    end
    rows[i] = row
  end
  return rows
end

local id, nonce, count, lease_ms, seen = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local entries, opens, closes, outgoing, drop = take_list(2), take_list(5), take_list(1), take_list(5), take_list(1)
local ending, blob, after_ms = take(), take(), tonumber(take())
local X, JOURNAL, WAITS, INBOX = key('x', id), key('j', id), key('w', id), key('i', id)
local MARK = nonce .. ' ' .. count .. ' '

local function answer(text)
  local words = {}
  for word in string.gmatch(text, '%S+') do
    words[#words + 1] = word
  end
  local deadlines = {}
  for i = 4, #words do
    deadlines[i - 3] = words[i] == '-' and '' or words[i]
  end
  return { 'ok', tonumber(words[1]), tonumber(words[2]), words[3], deadlines, call('LRANGE', INBOX, seen, -1) }
end

local r = load(id)
if not r then
  return { 'lost' }
end
if r.answer and string.sub(r.answer, 1, #MARK) == MARK then
  local again = answer(string.sub(r.answer, #MARK + 1))
  if again[3] == 1 then
    return again
  end
  -- Who asks again after the lease was taken away must not believe that it still owns.
  if r.nonce ~= nonce then
    return { 'lost' }
  end
  -- Whose answer was lost trusts its lease from the moment it asked again.
  call('ZADD', LEASES, now + lease_ms, id)
  return again
end
if r.nonce ~= nonce or count <= r.count then
  return { 'lost' }
end

-- A line of the journal never changes: the same one again is no write, another one under its id is refused.
local recorded, added = {}, {}
for _, row in ipairs(entries) do
  local entry, content = row[1], row[2]
  local kept = recorded[entry] or call('HGET', JOURNAL, entry)
  if not kept then
    recorded[entry] = content
    added[#added + 1] = row
  elseif kept ~= content then
    return { 'conflict', entry }
  end
end

local function record_entries()
  for _, row in ipairs(added) do
    call('HSET', JOURNAL, row[1], row[2])
  end
  for _, row in ipairs(entries) do
    call('HDEL', WAITS, row[1])
  end
  if #entries > 0 then
    forget_passes(r)
  end
  if #entries > 0 and r.crashes > 0 then
    r.crashes = 0 -- it gets on: only crashes in a row tell that it takes its workers with it
    call('HSET', X, 'crashes', 0)
  end
end

-- An open wait is "<deadline or -> <opened_at> <blob>"; it got its deadline once and keeps it.
local function open_waits()
  local deadlines = {}
  for i, row in ipairs(opens) do
    local wait, after_opening, until_ms, replace, about = unpack(row)
    local kept = replace == '0' and call('HGET', WAITS, wait)
    if kept then
      deadlines[i] = string.match(kept, '^%S+')
    else
      local deadline = tonumber(until_ms) or (after_opening ~= '' and now + after_opening)
      deadlines[i] = deadline and string.format('%.0f', deadline) or '-'
      call('HSET', WAITS, wait, deadlines[i] .. string.format(' %.0f ', now) .. about)
    end
  end
  return deadlines
end

local function send_off()
  for _, row in ipairs(outgoing) do
    call('XADD', PREFIX .. 'outbox', '*', 'target', row[1], 'request', row[2], 'kind', row[3], 'name', row[4],
      'payload', row[5])
  end
end

local function earliest_wait()
  local first
  for _, wait in ipairs(call('HVALS', WAITS)) do
    local deadline = tonumber(string.match(wait, '^%S+'))
    if deadline and (not first or deadline < first) then
      first = deadline
    end
  end
  return first
end

local function sooner(one, other)
  return one and other and math.min(one, other) or one or other
end

-- Each end answers whether the turn was released.
local unseen_cancel = r.status == 'cancelling' and r.cancel_index >= seen
local ends = {}

function ends.complete()
  if unseen_cancel then
    set_status(r, 'running') -- completion wins over a cancel that the turn had not seen
  end
  finish(r, 'complete', '')
  if r.status == 'completed' then
    call('HSET', X, 'result', blob)
    call('HDEL', X, 'error')
  end
  return true
end

function ends.fail()
  call('HSET', X, 'error', blob)
  finish(r, 'fail', '')
  return true
end

function ends.end_cancelled()
  finish(r, 'end_cancelled', '')
  return true
end

function ends.suspend()
  local first = earliest_wait()
  if call('LLEN', INBOX) > seen or (first and first <= now) then
    return false
  end
  set_status(r, after(r.status, 'suspend'))
  disown(r)
  forget_passes(r)
  set_timer(r, sooner(first, r.deadline))
  return true
end

function ends.retry()
  if unseen_cancel then
    return false
  end
  call('HSET', X, 'error', blob)
  if is_terminal(after(r.status, 'retry')) then
    finish(r, 'retry', '')
    return true
  end
  for _, row in ipairs(drop) do
    call('HDEL', JOURNAL, row[1])
  end
  call('DEL', WAITS)
  call('HINCRBY', X, 'attempt', 1)
  set_status(r, after(r.status, 'retry'))
  disown(r)
  forget_passes(r)
  set_timer(r, sooner(now + after_ms, r.deadline))
  return true
end

local function release()
  if ending == '' then
    return false
  end
  if is_late(r) then
    if ending == 'fail' or ending == 'retry' then
      call('HSET', X, 'error', blob)
    end
    finish(r, 'time_out', 'timed_out')
    return true
  end
  return ends[ending]()
end

record_entries()
local deadlines = open_waits()
for _, row in ipairs(closes) do
  call('HDEL', WAITS, row[1])
end
send_off()
call('ZADD', LEASES, now + lease_ms, id)
local released = release()
local text = string.format('%.0f %d %s', now, released and 1 or 0, r.status)
if #deadlines > 0 then
  text = text .. ' ' .. table.concat(deadlines, ' ')
end
call('HSET', X, 'count', count, 'answer', MARK .. text)
return answer(text)
