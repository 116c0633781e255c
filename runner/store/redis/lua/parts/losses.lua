-- What a store that went back in time has lost, as the hints that outlived it tell.

local GONE = PREFIX .. 'gone'

local function keep_latest(index, most)
  for _, old in ipairs(call('ZRANGE', index, 0, -(most + 1))) do
    call('ZREM', index, old)
  end
end

-- Counted under `kind`, with the execution among the examples. An orphan that is still among them is counted already.
local function lose(kind, id)
  local new = call('ZADD', PREFIX .. 'lost:' .. kind, now, id)
  if new == 1 or kind == 'rewound' then
    call('HINCRBY', PREFIX .. 'lost', kind, 1)
    call('HSET', PREFIX .. 'lost', 'at', now)
    keep_latest(PREFIX .. 'lost:' .. kind, LIMITS.losses)
  end
end

-- Purged a while ago: its hint is late, and no trace of anything.
local function is_gone(id)
  return call('ZSCORE', GONE, id) ~= false
end

-- The record is behind what the hint knows. It catches up, so that one loss is counted once; not with what is forged.
local function rewind(r, hinted)
  if hinted > r.seq and hinted - r.seq <= LIMITS.leap and not is_gone(r.id) then
    audit(r, 'rewound', { seq = r.seq, hint = hinted })
    lose('rewound', r.id)
    call('HSET', key('x', r.id), 'seq', hinted)
    r.seq = hinted
  end
end
