-- One crash more in a row, or none when `counted` is false: handed back by `move`, or given up when it was one too
-- many. Returns the wake, or false after the end. It needs `outbox` and `ending` before it.

local function crash(r, move, counted, limit, error)
  if counted then
    r.crashes = call('HINCRBY', key('x', r.id), 'crashes', 1)
  end
  if counted and r.crashes >= tonumber(limit) then
    if error ~= '' then
      call('HSET', key('x', r.id), 'error', error)
    end
    finish(r, 'poison', 'poisoned')
    return false
  end
  set_status(r, after(r.status, move))
  disown(r)
  return make_ready(r)
end
