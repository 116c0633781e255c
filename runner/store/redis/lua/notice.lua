#!lua flags=allow-oom
-- Appends to an inbox how another execution ended.
-- KEYS[1]  the partition's prefix
-- ARGV     id, request, run or 0 for any, the execution that ended, blob
-- Returns  {reception, wake or false, parcels, rows}
-- Repeat   recognised by the request and the run, also after the end: one end has one request, and a run that has
--          been continued as new leaves its notices behind, so that the next one must be able to hear of it again.
-- Needs    outbox, inbox, kin

local id, request, run, child, blob = unpack(ARGV)
local r = load(id)
if not r then
  return delivered('unknown')
end

-- Which of its ends it is: "ended:<child>:<openings>…". Others tell of a child that has only one.
local function openings_told()
  local begins = 'ended:' .. child .. ':'
  if string.sub(request, 1, #begins) ~= begins then
    return 0
  end
  return tonumber(string.match(request, '^%d+', #begins + 1))
end

-- Whichever run it is for; but one that says that the execution is of another workflow knows nothing of its end.
local once = request .. ' ' .. run
if call('HEXISTS', key('d', id), once) == 0 and string.find(request, 'mismatch:', 1, true) ~= 1 then
  mark_ended(r, child, openings_told())
end
return settled(r, once, run) or delivered('delivered', receive(r, once, 'ended', child, blob))
