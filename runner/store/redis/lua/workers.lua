#!lua flags=no-writes
-- The workers whose last heartbeat is recent.
-- KEYS[1]  the namespace's prefix
-- ARGV     within_ms
-- Returns  {"<seen_at> <blob>" …}

local recent = {}
for _, heartbeat in ipairs(call('HVALS', PREFIX .. 'workers')) do
  if (tonumber(string.match(heartbeat, '^%d+')) or 0) >= now - ARGV[1] then
    recent[#recent + 1] = heartbeat
  end
end
return recent
