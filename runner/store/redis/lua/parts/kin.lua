-- Children. One is kept as "<policy> <run that started it> <phase>": the phase is the latest that is known of it, and odd
-- when it has ended: 0 from its start on, 1 from its end, 2 when an operator opened it again, 3 from that end, and so on.
-- No order is promised of what tells of it, so that a phase is only ever followed by a later one.

local function parts_of(link)
  local policy, run, phase = string.match(link or '', '^(%a+) (%d+) (%d+)$')
  return policy, tonumber(run), tonumber(phase)
end

local function link_of(r, child)
  return parts_of(call('HGET', key('c', r.id), child))
end

local function keep_link(r, child, policy, run, phase)
  call('HSET', key('c', r.id), child, policy .. ' ' .. string.format('%d %d', run, phase))
end

local function has_ended(phase)
  return phase % 2 == 1
end

-- A child of the present run is known to have ended, one of an older run is forgotten.
local function mark_ended(r, child, openings)
  local policy, run, phase = link_of(r, child)
  local told = 2 * openings + 1
  if policy and run < r.run and phase <= told then
    call('HDEL', key('c', r.id), child)
  elseif policy and phase < told then
    keep_link(r, child, policy, run, told)
  end
end

-- A child goes on again; one of an older run may have been forgotten: then it is known anew, as what it was started as.
local function mark_reopened(r, child, openings, started_by, started_as)
  local policy, run, phase = link_of(r, child)
  if policy then
    keep_link(r, child, policy, run, math.max(phase, 2 * openings))
  elseif started_as ~= '' and started_by < r.run then
    keep_link(r, child, started_as, started_by, 2 * openings)
  end
end

-- At its parent's end a child is cancelled that is not known to have ended, when its policy says so.
local function cancel_child(r, child)
  local policy, _, phase = link_of(r, child)
  if policy == 'cancel' and not has_ended(phase) then
    send('cancel', child, 'cancel:' .. r.id .. ':' .. r.openings, 'its parent ' .. r.id .. ' has ended', 0, { 'payload', '' })
  end
end

local function cancel_children(r)
  for _, child in ipairs(call('HKEYS', key('c', r.id))) do
    cancel_child(r, child)
  end
end

-- What the present run starts. A child that is known keeps its phase.
local function remember_child(r, child, policy)
  local _, _, phase = link_of(r, child)
  keep_link(r, child, policy, r.run, phase or 0)
end

local function forget_ended_children(r)
  for _, child in ipairs(call('HKEYS', key('c', r.id))) do
    local _, _, phase = link_of(r, child)
    if has_ended(phase) then
      call('HDEL', key('c', r.id), child)
    end
  end
end
