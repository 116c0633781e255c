-- The ends a turn can ask for. Each answers whether the turn was released, and the next run's `seq` if there is one.
-- It needs `outbox`, `kin` and `ending` before it.

local ends = {}

local function earliest_wait(r)
  local first
  for _, wait in ipairs(call('HVALS', key('w', r.id))) do
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

local function has_unseen_cancel(r, seen)
  return r.status == 'cancelling' and r.cancel_index >= seen
end

local function leave_turn(r, move)
  set_status(r, after(r.status, move))
  disown(r)
  forget_passes(r)
end

-- What an operator's retry is to try again is kept with the error, whatever the failure comes to.
local function keep_error(r, ending)
  call('HSET', key('x', r.id), 'error', ending.blob)
  if ending.escaped ~= '' then
    call('HSET', key('x', r.id), 'escaped', ending.escaped)
  end
end

function ends.suspend(r, _, seen)
  local first = earliest_wait(r)
  if call('LLEN', key('i', r.id)) > seen or (first and first <= now) then
    return false
  end
  leave_turn(r, 'suspend')
  set_timer(r, sooner(first, r.deadline))
  return true
end

function ends.complete(r, ending, seen)
  -- Completion wins over a cancel that the turn had not seen.
  local from = has_unseen_cancel(r, seen) and 'running' or r.status
  if after(from, 'complete') == 'completed' then
    call('HSET', key('x', r.id), 'result', ending.blob)
    call('HDEL', key('x', r.id), 'error')
  end
  finish(r, 'complete', '', from)
  return true
end

function ends.fail(r, ending)
  keep_error(r, ending)
  finish(r, 'fail', '')
  return true
end

function ends.fail_compensation(r, ending)
  keep_error(r, ending)
  finish(r, 'fail_compensation', '')
  return true
end

function ends.end_cancelled(r)
  finish(r, 'end_cancelled', '')
  return true
end

function ends.retry(r, ending, seen)
  if has_unseen_cancel(r, seen) then
    return false
  end
  keep_error(r, ending)
  if TERMINAL[after(r.status, 'retry')] then
    finish(r, 'retry', '')
    return true
  end
  local dropped = 0
  for _, row in ipairs(ending.list) do
    dropped = dropped + call('HDEL', key('j', r.id), row[1])
  end
  count_entries(r, -dropped)
  call('DEL', key('w', r.id))
  call('HINCRBY', key('x', r.id), 'attempt', 1)
  leave_turn(r, 'retry')
  set_timer(r, sooner(now + ending.after_ms, r.deadline))
  return true
end

-- The next run's inbox: what the turn keeps and what it has not seen, without notices, which were the old run's.
-- Returns where the cancel is now: -1 when it is not among it.
local function renew_inbox(r, keep, seen)
  local kept, items, cancel_index = {}, {}, -1
  for _, row in ipairs(keep) do
    kept[tonumber(row[1])] = true
  end
  for i, item in ipairs(call('LRANGE', key('i', r.id), 0, -1)) do
    local index, kind = i - 1, string.match(item, '^%d+ (%a+) ')
    if (index >= seen or kept[index]) and kind ~= 'ended' then
      items[#items + 1] = item
      if index == r.cancel_index then
        cancel_index = #items - 1
      end
    end
  end
  call('DEL', key('i', r.id))
  for _, item in ipairs(items) do
    call('RPUSH', key('i', r.id), item)
  end
  return cancel_index
end

function ends.continue(r, ending, seen)
  local cancel_index = renew_inbox(r, ending.list, seen)
  if r.cancel_index then
    call('HSET', key('x', r.id), 'cancel_index', cancel_index)
  end
  call('DEL', key('j', r.id), key('w', r.id))
  forget_ended_children(r)
  call('HSET', key('x', r.id), 'run', r.run + 1, 'attempt', 1, 'input', ending.blob, 'run_at', now, 'outstanding', 0, 'entries', 0)
  leave_turn(r, 'continue')
  make_ready(r)
  return true, r.seq
end

-- Whatever else an end would come to, a passed deadline makes it a time-out; a rollback that failed outweighs it.
local function end_turn(r, ending, seen)
  if ending.kind == '' then
    return false
  end
  if is_late(r) and ending.kind ~= 'fail_compensation' then
    if ending.kind == 'fail' or ending.kind == 'retry' then
      keep_error(r, ending)
    end
    finish(r, 'time_out', 'timed_out')
    return true
  end
  return ends[ending.kind](r, ending, seen)
end
