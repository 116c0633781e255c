#!lua flags=allow-oom
-- Appends to an inbox how another execution ended.
-- KEYS[1]  the partition's prefix
-- ARGV     id, request, run or 0 for any, the execution that ended, blob
-- Returns  {reception, wake or false, parcels, rows}
-- Repeat   recognised by the request and the run, also after the end: one end has one request, and a run that has
--          been continued as new leaves its notices behind, so that the next one must be able to hear of it again.
-- Needs    inbox

local id, request, run, child, blob = unpack(ARGV)
local r = load(id)
if not r then
  return delivered('unknown')
end

-- Whoever it is addressed to: a child of an older run is forgotten, one of the present run is known to have ended.
local policy, started_by = string.match(call('HGET', key('c', id), child) or '', '^(%a+) (%d+)')
if policy and tonumber(started_by) < r.run then
  call('HDEL', key('c', id), child)
elseif policy then
  call('HSET', key('c', id), child, policy .. ' ' .. started_by .. ' 1')
end

local once = request .. ' ' .. run
return settled(r, once, run) or delivered('delivered', receive(r, once, 'ended', child, blob))
