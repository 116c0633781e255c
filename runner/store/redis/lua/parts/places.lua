-- Where an execution must stand in the listings and lines, and where it must not.

-- Its places: true where it must be, false where it must not be; `by:stuck` is not among them where both can be right.
local function standing(r)
  local places = { ['by:all'] = true, ['by:workflow:' .. r.workflow] = true }
  for status in pairs(AFTER) do
    places['by:status:' .. status] = status == r.status
    places['by:both:' .. status .. ':' .. r.workflow] = status == r.status
  end
  for _, field in ipairs(call('HKEYS', key('x', r.id))) do
    if string.sub(field, 1, 1) == '@' then
      places['by:attr:' .. string.sub(field, 2) .. ':' .. call('HGET', key('x', r.id), field)] = true
    end
  end
  if r.status ~= 'cancelled' or r.outstanding == 0 then
    places['by:stuck'] = r.status == 'compensation_failed' or (r.status == 'failed' and r.outstanding > 0)
  end
  places['passed:' .. r.workflow .. ':' .. r.version] = r.passed ~= ''
  -- Where the ready set is none, nobody knows what must stand in the line: then it is right as it is.
  local ready = redis.pcall('ZSCORE', READY .. r.queue, r.id)
  if type(ready) == 'table' and is_damage(ready.err) then
    places['line:' .. r.queue] = call('ZSCORE', LINE .. r.queue, r.id) ~= false
  else
    places['line:' .. r.queue] = ready ~= false and r.passed == ''
  end
  return places
end

local function is_listing(place)
  return string.sub(place, 1, 3) == 'by:'
end

-- Whether it is as it must be in a place; a listing is in the order of `created_at`.
local function stands_right(r, place, must)
  local score = redis.pcall('ZSCORE', PREFIX .. place, r.id)
  if type(score) == 'table' and is_damage(score.err) then
    return true -- It is no index at all, which is for its own look to tell.
  end
  if not must or not score or not is_listing(place) then
    return (score ~= false) == must
  end
  return tonumber(score) == r.created_at
end

-- Places that it is missing in, and those that have it and must not.
local function misplaced(r)
  local missing, surplus = {}, {}
  for place, must in pairs(standing(r)) do
    if not stands_right(r, place, must) then
      local into = must and missing or surplus
      into[#into + 1] = place
    end
  end
  return missing, surplus
end

local OWN = { 'x', 'j', 'w', 'i', 'd', 'c', 's', 'a' }

-- Its keys that will be gone when their time to live is over.
local function fading(r)
  local found = {}
  for _, kind in ipairs(OWN) do
    if call('PTTL', key(kind, r.id)) >= 0 then
      found[#found + 1] = kind .. ':' .. r.id
    end
  end
  return found
end

-- An entry of an index of which no record says so. What a record contradicts is for `misplaced` to tell.
local function is_astray(place, id)
  local r, fault = look_at(id)
  if not r then
    return not fault
  end
  local queue = string.match(place, '^ready:(.*)$')
  if queue then
    return queue ~= r.queue
  end
  if place == 'leases' or place == 'timers' or place == 'expiry' or place == 'by:stuck' then
    return false
  end
  return standing(r)[place] == nil
end
