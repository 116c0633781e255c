#!lua
-- Creates an execution.
-- KEYS[1]  the partition's prefix
-- ARGV     id, request, workflow, version, queue, input, digest, key, timeout_ms, delay_ms, at_ms, retention_ms,
--          parent, parent_run, parent_close, seed, run_at, audit ('' where there is none; a key is led by '='); then two lists:
--          attributes (name, JSON text), entries (id, blob)
-- Returns  {1 when created by this request, else 0; digest; wake or false; parcels; rows}
-- Repeat   recognised by the request; an id under another request is left as it is, but for who hears of its end.
-- Needs    arguments, attributes, outbox, kin, ending, inbox, cancelling, starting
-- New work: refused when the server is at its memory limit. The same text as `start_child` is not.

local id, request, workflow, version, queue = take(), take(), take(), take(), take()
local input, digest, name = take(), take(), take()
local timeout, delay, at, retention = tonumber(take()), tonumber(take()), tonumber(take()), tonumber(take())
local parent, parent_run, parent_close = take(), take(), take()
local seed, run_at, audit_lines = take(), tonumber(take()), tonumber(take())
local attributes, entries = take_list(2), take_list(2)

local there = load(id)
if there then
  if parent ~= '' and there.request ~= request then
    let_follow(there, parent, parent_run)
  end
  return started(there, request)
end

local begins = math.max(now, at or now + delay)
local r = {
  id = id, workflow = workflow, version = version, queue = queue, status = 'pending', nonce = '', request = request,
  digest = digest, seq = 0, passes = 0, run = 1, openings = 0, outstanding = 0, audit = audit_lines,
  created_at = now, deadline = timeout and begins + timeout or nil, retention = retention,
}

local function write_record()
  local fields = {
    'request', request, 'workflow', workflow, 'version', version, 'queue', queue, 'input', input, 'digest', digest,
    'retention', retention, 'status', 'pending', 'created_at', now, 'run', 1, 'attempt', 1, 'crashes', 0, 'seq', 0,
    'nonce', '', 'worker', '', 'last_nonce', '', 'count', 0, 'passes', 0, 'passed', '', 'reason', '', 'cause', '',
    'openings', 0, 'outstanding', 0, 'audit', audit_lines, 'parent', parent, 'parent_run', parent_run, 'entries', #entries,
  }
  local optional = {
    key = name ~= '' and string.sub(name, 2), deadline = r.deadline, timeout_ms = timeout, seed = seed ~= '' and seed,
    run_at = run_at, parent_close = parent_close ~= '' and parent_close,
  }
  for field, value in pairs(optional) do
    if value then
      fields[#fields + 1] = field
      fields[#fields + 1] = value
    end
  end
  call('HSET', key('x', id), unpack(fields))
end

local function write_indexes()
  call('ZADD', PREFIX .. 'by:all', now, id)
  call('ZADD', PREFIX .. 'by:workflow:' .. workflow, now, id)
  enter_status(r, 'pending')
  set_attributes(r, attributes)
end

-- A parent's cancel that overtook its start lies there: it ends what was not to begin.
local function apply_tombstone()
  local stone = call('HMGET', key('t', id), 'request', 'reason', 'blob')
  if stone[1] then
    call('DEL', key('t', id))
    receive_cancel(r, stone[1], stone[2], stone[3])
  end
end

write_record()
write_indexes()
for _, row in ipairs(entries) do
  call('HSET', key('j', id), row[1], row[2])
end
if parent ~= '' then
  let_follow(r, parent, parent_run)
end
audit(r, 'created', { workflow = workflow, version = tonumber(version), parent = parent })
if begins > now then
  set_timer(r, begins)
else
  make_ready(r)
end
apply_tombstone()
return started(r, request)
