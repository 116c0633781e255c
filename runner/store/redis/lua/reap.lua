#!lua flags=allow-oom
-- Takes away leases that have run out.
-- KEYS[1]  the partition's prefix
-- ARGV     limit, crashes that end an execution, the error it ends with (may be empty), then the ids of workers that
--          are alive: to lose a lease to them is no crash
-- Returns  {now, earliest lease left or false, {wake …}, parcels, rows}
-- Repeat   finds the rest; wakes of a lost reply are ready entries, and `overdue` offers them.
-- Needs    outbox, kin, ending, crashing

local limit, most, error = ARGV[1], ARGV[2], ARGV[3]
local alive = {}
for i = 4, #ARGV do
  alive[ARGV[i]] = true
end

local wakes = {}
for _, id in ipairs(due_in(LEASES, limit)) do
  local r, fault = load_due(LEASES, id)
  if fault then
    -- It comes again later.
  elseif not r or r.nonce == '' then
    call('ZREM', LEASES, id)
  else
    wakes[#wakes + 1] = crash(r, 'reap', not alive[r.worker], most, error) or nil
  end
end
return { now, earliest(LEASES), wakes, parcels, rows }
