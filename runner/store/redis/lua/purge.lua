#!lua flags=allow-oom
-- Deletes executions past their retention, with all their data.
-- KEYS[1]  the partition's prefix
-- ARGV     limit
-- Returns  {how many, when the next one is due or false}
-- Needs    attributes

local count = 0
for _, id in ipairs(due_in(EXPIRY, ARGV[1])) do
  local r = load(id)
  if r and TERMINAL[r.status] then
    leave_status(r)
    call('ZREM', PREFIX .. 'by:all', id)
    call('ZREM', PREFIX .. 'by:workflow:' .. r.workflow, id)
    call('ZREM', PREFIX .. 'by:stuck', id)
    leave_attributes(r)
    for _, kind in ipairs({ 'x', 'j', 'w', 'i', 'd', 'c', 's', 'a' }) do
      call('UNLINK', key(kind, id))
    end
    count = count + 1
  end
  call('ZREM', EXPIRY, id)
end
return { count, earliest(EXPIRY) }
