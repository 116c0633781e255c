-- The answer to a start of an id that is there: `new` when it is the same request. Never claimed and ready
-- means that its hint may have been lost, so it is given again.

local function started(r, request)
  local waiting = r.status == 'pending' and not r.started_at and is_ready(r)
  return { r.request == request and 1 or 0, r.digest, waiting and wake(r) or false, parcels, rows }
end
