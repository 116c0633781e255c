#!lua flags=allow-oom
-- The fenced write of a turn, and its end when one is asked.
-- KEYS[1]  the partition's prefix
-- ARGV     id, nonce, count, lease_ms, seen, outstanding, then lists, each led by its length: entries (id, blob),
--          opens (id, after_ms, until_ms, replace, blob), closes (id), outgoing (kind, target, request, name, run,
--          payload), children (id, policy), attributes (name, JSON text), audit (row); then the end, see `ends`:
--          its kind ('' for none), its blob, after_ms, escaped, and the list drop (id) or keep (index)
-- Returns  {'ok', now, 1 when released, status, {deadline or '' per open}, {inbox items behind seen},
--          wake of the next run or false, parcels, rows},
--          {'lost'} when the lease is not ours, {'conflict', id} when an entry contradicts what is recorded
-- Repeat   recognised by nonce and count before anything else is looked at, and answered from the answer that is
--          kept, also when that commit released; where it did not, the lease is extended again. An older count is
--          a write that comes too late, and one that skips a count stands behind a gap: 'lost'. The wake is given again
--          while nobody has claimed the next run.
-- Needs    arguments, attributes, outbox, kin, ending, ends

local id, nonce, count, lease_ms, seen = take(), take(), tonumber(take()), tonumber(take()), tonumber(take())
local outstanding = tonumber(take())
local entries, opens, closes, outgoing = take_list(2), take_list(5), take_list(1), take_list(6)
local children, attributes, audited = take_list(2), take_list(2), take_list(1)
local ending = { kind = take(), blob = take(), after_ms = tonumber(take()), escaped = take(), list = take_list(1) }
local X, JOURNAL, WAITS, INBOX = key('x', id), key('j', id), key('w', id), key('i', id)
local MARK = nonce .. ' ' .. count .. ' '

local r = load(id)

-- From "<now> <released> <status> <seq of the next run or -> <deadline or -> …": the answer, now and to a repeat.
local function answer(text)
  local words = {}
  for word in string.gmatch(text, '%S+') do
    words[#words + 1] = word
  end
  local deadlines = {}
  for i = 5, #words do
    deadlines[i - 4] = words[i] == '-' and '' or words[i]
  end
  local seq = tonumber(words[4])
  -- What the next run finds in its inbox is numbered anew, and no news to the turn that has ended.
  local news = seq and {} or call('LRANGE', INBOX, seen, -1)
  local waiting = seq and seq == r.seq and r.nonce == '' and is_ready(r)
  return {
    'ok', tonumber(words[1]), tonumber(words[2]), words[3], deadlines, news, waiting and wake(r) or false, parcels, rows,
  }
end

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
-- A count that skips one, or more seen than there is, tells that the store went back in time under this lease: what
-- the turn has recorded since is gone, and its next entry must not stand behind the gap.
if r.nonce ~= nonce or count ~= r.count + 1 or call('LLEN', INBOX) < seen then
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
  if #added > 0 then
    count_entries(r, #added)
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
    local kind, target, request, name, run, payload = unpack(row)
    send(kind, target, request, name, run, { 'payload', payload })
  end
end

local function remember_children()
  for _, row in ipairs(children) do
    remember_child(r, row[1], row[2])
  end
end

local function close_waits()
  for _, row in ipairs(closes) do
    call('HDEL', WAITS, row[1])
  end
end

local function set_outstanding()
  if outstanding ~= r.outstanding then
    call('HSET', X, 'outstanding', outstanding)
    r.outstanding = outstanding
  end
end

record_entries()
local deadlines = open_waits()
close_waits()
send_off()
remember_children()
set_attributes(r, attributes)
set_outstanding()
for _, row in ipairs(audited) do
  add_row(r, row[1])
end
call('ZADD', LEASES, now + lease_ms, id)
local released, next_seq = end_turn(r, ending, seen)
local text = string.format('%.0f %d %s %s', now, released and 1 or 0, r.status, next_seq or '-')
if #deadlines > 0 then
  text = text .. ' ' .. table.concat(deadlines, ' ')
end
call('HSET', X, 'count', count, 'answer', MARK .. text)
return answer(text)
