#!lua
-- Creates an execution.
-- KEYS[1]  the partition's prefix
-- ARGV     id, request, workflow, version, queue, input, digest, key, timeout_ms, delay_ms, at_ms, retention_ms
--          ('' where there is none; a key is led by '=')
-- Returns  {1 when created by this request, else 0; digest; wake or false}
-- Repeat   recognised by the request; an id under another request is left as it is.
-- New work: refused when the server is at its memory limit.

local id, request, workflow, version, queue = unpack(ARGV, 1, 5)
local there = load(id)
if there then
  return started(there, request)
end

local timeout, delay, at = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
local begins = math.max(now, at or now + delay)
local r = {
  id = id, workflow = workflow, version = version, queue = queue, status = 'pending', nonce = '',
  request = request, digest = ARGV[7], seq = 0, created_at = now, deadline = timeout and begins + timeout or nil,
}

call('HSET', key('x', id),
  'request', request, 'workflow', workflow, 'version', version, 'queue', queue, 'input', ARGV[6], 'digest', ARGV[7],
  'retention', ARGV[12], 'status', 'pending', 'created_at', now, 'run', 1, 'attempt', 1, 'crashes', 0, 'seq', 0,
  'nonce', '', 'worker', '', 'last_nonce', '', 'count', 0, 'passes', 0, 'passed', '', 'reason', '', 'cause', '')
if ARGV[8] ~= '' then
  call('HSET', key('x', id), 'key', string.sub(ARGV[8], 2))
end
if r.deadline then
  call('HSET', key('x', id), 'deadline', r.deadline)
end
call('ZADD', PREFIX .. 'by:all', now, id)
call('ZADD', PREFIX .. 'by:workflow:' .. workflow, now, id)
enter_status(r, 'pending')
if begins > now then
  set_timer(r, begins)
else
  make_ready(r)
end
return started(r, request)
