#!lua flags=no-writes
-- What claims have found lost in a partition.
-- KEYS[1]  the partition's prefix
-- ARGV     how many examples of each kind
-- Returns  {rewound, orphaned, at or false, {id, at, … of rewound, latest first}, {the same of orphaned}}

local counts = call('HMGET', PREFIX .. 'lost', 'rewound', 'orphaned', 'at')
local function latest(kind)
  return call('ZREVRANGE', PREFIX .. 'lost:' .. kind, 0, ARGV[1] - 1, 'WITHSCORES')
end
return {
  tonumber(counts[1] or 0), tonumber(counts[2] or 0), tonumber(counts[3] or nil) or false,
  latest('rewound'), latest('orphaned'),
}
