-- What goes to another partition or to the broker: into the outbox here, and into the answer of this call, so that
-- whoever caused it can carry it there at once.

-- `about` lists further fields and values: 'payload', or the parts of a notice.
local function send(kind, target, request, name, run, about)
  local fields = { 'kind', kind, 'target', target, 'request', request, 'name', name, 'run', tostring(run) }
  for _, word in ipairs(about) do
    fields[#fields + 1] = word
  end
  parcels[#parcels + 1] = { call('XADD', PREFIX .. 'outbox', '*', unpack(fields)), fields }
end

-- The parts of the notice of an end, as fields: result and error are opaque, so that only its reader can pack it.
local NOTICE = { 'workflow', 'attempt', 'key', 'cause', 'reason', 'result', 'error' }

local function notice_of(r)
  local values, about = call('HMGET', key('x', r.id), unpack(NOTICE)), { 'status', r.status }
  for i, name in ipairs(NOTICE) do
    if values[i] then
      about[#about + 1] = name
      about[#about + 1] = values[i]
    end
  end
  return about
end

local function notify(r, waiter, run, about, suffix)
  send('ended', waiter, 'ended:' .. r.id .. ':' .. r.openings .. (suffix or ''), r.id, run, about)
end

-- `waiter`, in its run `run`, hears of this execution's end; at once when that has come. A follower is kept as
-- "<run> <waiter>".
local function let_follow(r, waiter, run, suffix)
  if TERMINAL[r.status] then
    notify(r, waiter, run, notice_of(r), suffix)
  else
    call('SADD', key('s', r.id), run .. ' ' .. waiter)
  end
end
