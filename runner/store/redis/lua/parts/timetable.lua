-- Schedules: all by id as "<revision> <created_at> <blob>", their ids in order, and when each must be looked at.

local SCHEDULES, NAMES_IN_ORDER, DUE = PREFIX .. 'schedules', PREFIX .. 'schedules:ids', PREFIX .. 'schedules:due'

-- Whoever sleeps until the first of the others is told when this one is earlier.
local function set_due(id, at)
  local first = earliest(DUE)
  call('ZADD', DUE, at, id)
  if not first or at < first then
    publish('schedules', id)
  end
end
