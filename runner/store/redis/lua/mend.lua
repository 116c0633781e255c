#!lua flags=allow-oom
-- Makes all that is said of an execution agree with its record, and makes it ready where nothing would wake it.
-- KEYS[1]  the partition's prefix
-- ARGV     id, 1 to wake it, how long a lease lasts in ms, how many children are not there, these, then what it was made
--          to follow again
-- Returns  {{what was set right …}, wake or false, rows}
-- Repeat   finds nothing to do; a wake is given once, and its ready entry is offered by `overdue`.
-- Needs    attributes, outbox, kin, ending, ends, places

local id, wakes, lease_ms, lost = ARGV[1], ARGV[2] == '1', tonumber(ARGV[3]), tonumber(ARGV[4])
local r = load(id)
if not r then
  return { {}, false, {} }
end
local done, woken = {}, false

local function did(what)
  done[#done + 1] = what
end

local function remove(index, what)
  if call('ZREM', index, id) == 1 then
    did(what)
  end
end

local function rouse_it(what)
  woken = make_ready(r)
  did(what)
end

local function mend_places()
  local missing, surplus = misplaced(r)
  for _, place in ipairs(missing) do
    call('ZADD', PREFIX .. place, is_listing(place) and r.created_at or now, id)
    did('into ' .. place)
  end
  for _, place in ipairs(surplus) do
    call('ZREM', PREFIX .. place, id)
    did('out of ' .. place)
  end
  for _, place in ipairs(fading(r)) do
    call('PERSIST', PREFIX .. place)
    did('kept ' .. place)
  end
end

local function mend_children()
  for i = 5, 4 + lost do
    local policy, run, phase = link_of(r, ARGV[i])
    if policy and not has_ended(phase) then
      keep_link(r, ARGV[i], policy, run, phase + 1)
      did('child ' .. ARGV[i])
    end
  end
  for i = 5 + lost, #ARGV do
    did('follows ' .. ARGV[i] .. ' again')
  end
end

local function mend_ended()
  if r.nonce ~= '' then
    disown(r)
    did('owner')
  end
  remove(LEASES, 'lease')
  remove(READY .. r.queue, 'ready')
  remove(TIMERS, 'timer')
  if call('DEL', key('w', id)) == 1 then
    did('waits')
  end
  if not call('ZSCORE', EXPIRY, id) then
    local ended_at = tonumber(call('HGET', key('x', id), 'ended_at') or now)
    call('ZADD', EXPIRY, ended_at + r.retention, id)
    did('expiry')
  end
end

local function mend_owned()
  remove(READY .. r.queue, 'ready')
  remove(TIMERS, 'timer')
  local until_ms = tonumber(call('ZSCORE', LEASES, id) or '')
  if not until_ms then
    set_status(r, after(r.status, 'release'))
    disown(r)
    rouse_it('owner')
  elseif until_ms > now + 2 * lease_ms then
    call('ZADD', LEASES, now + 2 * lease_ms, id)
    did('lease')
  end
end

local function mend_timer(latest)
  local timer = tonumber(call('ZSCORE', TIMERS, id) or '')
  if latest and (not timer or timer > latest) then
    set_timer(r, latest)
    did('timer')
  end
end

local function mend_ready()
  if call('SADD', PREFIX .. 'queues', r.queue) == 1 then
    did('queue')
  end
  if tonumber(call('ZSCORE', READY .. r.queue, id)) > now + LIMITS.ready_within then
    call('ZADD', READY .. r.queue, now + LIMITS.grace, id)
    did('ready')
  end
  mend_timer(r.deadline)
end

-- Nobody owns it, and it is not ready. What lasts until a time of its own needs that timer: its deadline's is another.
local function mend_waiting()
  if r.status == 'running' then
    set_status(r, after(r.status, 'release'))
    rouse_it('status')
  elseif wakes or (r.status ~= 'sleeping' and r.status ~= 'cancelling' and not call('ZSCORE', TIMERS, id)) then
    rouse_it('ready')
  else
    mend_timer(sooner(earliest_wait(r), r.deadline))
  end
end

mend_children()
if TERMINAL[r.status] then
  mend_ended()
else
  remove(EXPIRY, 'expiry')
  if r.nonce ~= '' then
    mend_owned()
  else
    remove(LEASES, 'lease')
    if is_ready(r) then
      mend_ready()
    else
      mend_waiting()
    end
  end
end
-- Last: what was set right has changed where it must stand.
mend_places()
if #done > 0 then
  audit(r, 'repaired', { done = table.concat(done, ', ') })
end
return { done, woken, rows }
