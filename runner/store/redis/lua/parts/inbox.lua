-- Everything that reaches an execution from outside is appended to its inbox, once per request.
-- An item is "<at> <kind> <blob>".

local function delivered(reception, woken)
  return { reception, woken or false, parcels, rows }
end

-- The answer to what must not be appended, or nil. A request that was seen is answered as delivered, also after the
-- end, and the wake-up it caused is given again while nobody has claimed it. `run` '0' is any run.
local function settled(r, request, run)
  local seq = call('HGET', key('d', r.id), request)
  if seq then
    local waiting = tonumber(seq) == r.seq and r.nonce == '' and is_ready(r)
    return delivered('delivered', waiting and wake(r))
  end
  if TERMINAL[r.status] or (run ~= '0' and tonumber(run) ~= r.run) then
    return delivered('terminal')
  end
  return nil
end

-- Appends and remembers the request; returns the item's index.
local function append(r, request, kind, blob)
  call('HSET', key('d', r.id), request, 0)
  return call('RPUSH', key('i', r.id), string.format('%.0f %s ', now, kind) .. blob) - 1
end

-- Tells the owner, or makes the execution ready when nobody owns it; returns the wake or false.
local function rouse(r, request)
  if r.nonce ~= '' then
    publish('worker/' .. r.worker, r.id)
    return false
  end
  if is_ready(r) then
    return false
  end
  local woken = make_ready(r)
  call('HSET', key('d', r.id), request, r.seq)
  return woken
end

-- A signal or a notice for a live execution; returns the wake or false. It shortens neither a delayed start nor the
-- delay before a retry: the timer is the wake source.
local function receive(r, request, kind, name, blob)
  append(r, request, kind, blob)
  audit(r, 'delivered', { kind = kind, name = name })
  if r.nonce == '' and (r.status == 'pending' or r.status == 'retrying') then
    return false
  end
  return rouse(r, request)
end
