#!lua flags=allow-oom
-- Takes away leases that have run out.
-- KEYS[1]  the partition's prefix
-- ARGV     limit, then the ids of workers that are alive: to lose a lease to them is no crash
-- Returns  {now, earliest lease left or false, {wake …}, parcels, rows}
-- Repeat   finds the rest; wakes of a lost reply are ready entries, and `overdue` offers them.
-- Needs    outbox, kin, ending

local alive = {}
for i = 2, #ARGV do
  alive[ARGV[i]] = true
end

local function count_crash(r)
  if not alive[r.worker] then
    r.crashes = call('HINCRBY', key('x', r.id), 'crashes', 1)
  end
  return r.crashes >= LIMITS.crashes
end

local wakes = {}
for _, id in ipairs(due_in(LEASES, ARGV[1])) do
  local r = load(id)
  if not r or r.nonce == '' then
    call('ZREM', LEASES, id)
  elseif count_crash(r) then
    finish(r, 'poison', 'poisoned')
  else
    set_status(r, after(r.status, 'reap'))
    disown(r)
    wakes[#wakes + 1] = make_ready(r)
  end
end
return { now, earliest(LEASES), wakes, parcels, rows }
