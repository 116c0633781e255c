#!lua flags=allow-oom
-- Deletes executions past their retention, with all their data.
-- KEYS[1]  the partition's prefix
-- ARGV     limit
-- Returns  {how many, when the next one is due or false}
-- Needs    attributes, losses

local count = 0
for _, id in ipairs(due_in(EXPIRY, ARGV[1])) do
  local r, fault = load_due(EXPIRY, id)
  if r and TERMINAL[r.status] then
    leave_status(r)
    call('ZREM', PREFIX .. 'by:all', id)
    call('ZREM', PREFIX .. 'by:workflow:' .. r.workflow, id)
    call('ZREM', PREFIX .. 'by:stuck', id)
    leave_attributes(r)
    for _, kind in ipairs({ 'x', 'j', 'w', 'i', 'd', 'c', 's', 'a' }) do
      call('UNLINK', key(kind, id))
    end
    call('ZADD', GONE, now, id)
    count = count + 1
  end
  if not fault then
    call('ZREM', EXPIRY, id)
  end
end
-- For a while a late hint for what was deleted is told from the trace of a loss.
if count > 0 then
  for _, old in ipairs(call('ZRANGEBYSCORE', GONE, '-inf', now - LIMITS.gone_ms)) do
    call('ZREM', GONE, old)
  end
  keep_latest(GONE, LIMITS.gone)
  call('PEXPIRE', GONE, LIMITS.gone_ms)
end
return { count, earliest(EXPIRY) }
