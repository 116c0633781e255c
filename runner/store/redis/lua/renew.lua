#!lua flags=allow-oom
-- Extends leases.
-- KEYS[1]  the partition's prefix
-- ARGV     lease_ms, then id, nonce, …
-- Returns  {1 when held, inbox length, …}

local answers = {}
for i = 2, #ARGV, 2 do
  local id, nonce = ARGV[i], ARGV[i + 1]
  local held = nonce ~= '' and call('HGET', key('x', id), 'nonce') == nonce
  if held then
    call('ZADD', LEASES, now + ARGV[1], id)
  end
  answers[#answers + 1] = held and 1 or 0
  answers[#answers + 1] = call('LLEN', key('i', id))
end
return answers
