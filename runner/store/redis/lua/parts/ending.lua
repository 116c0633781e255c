-- The one place of every end, whoever brings it about. It needs `outbox` and `kin` before it.

local STUCK = PREFIX .. 'by:stuck'

-- A follower stays one: after an operator reopened the execution, it is told of the next end too.
local function tell_followers(r)
  local followers = call('SMEMBERS', key('s', r.id))
  local about = followers[1] and notice_of(r)
  for _, follower in ipairs(followers) do
    local run, waiter = string.match(follower, '^(%d+) (.*)$')
    notify(r, waiter, run, about)
  end
end

-- What is left undone needs an operator, unless the execution's own code decided so.
local function needs_operator(r, status, cause)
  return status == 'compensation_failed'
    or (r.outstanding > 0 and (status == 'failed' or (status == 'cancelled' and cause ~= '')))
end

-- Record, indexes, retention, audit trail, followers, children, one word to who listens. The record's result and
-- error must be there already: notices carry them. `from` is the status the move starts at, when not the present one.
local function finish(r, move, cause, from)
  local status = after(from or r.status, move)
  local stuck = needs_operator(r, status, cause)
  if status == 'cancelled' then
    cause = ''
  end
  if r.nonce ~= '' then
    disown(r)
  end
  forget_passes(r)
  set_status(r, status, { cause = cause })
  call('HSET', key('x', r.id), 'ended_at', now, 'cause', cause)
  call('ZREM', READY .. r.queue, r.id)
  call('ZREM', LINE .. r.queue, r.id)
  call('ZREM', TIMERS, r.id)
  call('DEL', key('w', r.id))
  call('ZADD', EXPIRY, now + r.retention, r.id)
  if stuck then
    call('ZADD', STUCK, r.created_at, r.id)
  end
  tell_followers(r)
  cancel_children(r)
  publish('ended/' .. r.id, status)
end
