#!lua flags=allow-oom
-- Deletes executions past their retention, with all their data.
-- KEYS[1]  the partition's prefix
-- ARGV     limit
-- Returns  {how many, when the next one is due or false}

local count = 0
for _, id in ipairs(due_in(EXPIRY, ARGV[1])) do
  local r = load(id)
  if r and is_terminal(r.status) then
    leave_status(r)
    call('ZREM', PREFIX .. 'by:all', id)
    call('ZREM', PREFIX .. 'by:workflow:' .. r.workflow, id)
    call('UNLINK', key('x', id), key('j', id), key('w', id), key('i', id), key('d', id))
    count = count + 1
  end
  call('ZREM', EXPIRY, id)
end
return { count, earliest(EXPIRY) }
