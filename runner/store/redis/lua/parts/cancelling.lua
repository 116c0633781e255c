-- What a cancel does. It needs `ending` and `inbox` before it.

-- A live execution ends here and now when no worker ever had it; else its own code brings about the end. Returns
-- the wake or false.
local function receive_cancel(r, request, reason, blob)
  local never_claimed = r.status == 'pending' and not r.started_at
  local status = after(r.status, never_claimed and 'abandon' or 'cancel')
  call('HSET', key('x', r.id), 'reason', reason, 'cancel_index', append(r, request, 'cancel', blob))
  audit(r, 'cancel', { reason = reason })
  if never_claimed then
    finish(r, 'abandon', '')
    return false
  end
  set_status(r, status)
  return rouse(r, request)
end
