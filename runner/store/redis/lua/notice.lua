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

-- A child of the present run is known to have ended, one of an older run is forgotten.
local function mark_ended()
  local policy, started_by = string.match(call('HGET', key('c', id), child) or '', '^(%a+) (%d+)')
  if policy and tonumber(started_by) < r.run then
    call('HDEL', key('c', id), child)
  elseif policy then
    call('HSET', key('c', id), child, policy .. ' ' .. started_by .. ' 1')
  end
end

-- Whichever run it is for; but one that says that the execution is of another workflow knows nothing of its end.
local once = request .. ' ' .. run
if call('HEXISTS', key('d', id), once) == 0 and string.find(request, 'mismatch:', 1, true) ~= 1 then
  mark_ended()
end
return settled(r, once, run) or delivered('delivered', receive(r, once, 'ended', child, blob))
