#!lua flags=no-writes
-- One partition's part of a listing, newest first, ties by id downwards.
-- KEYS[1]  the partition's prefix
-- ARGV     index, limit, newest and oldest created_at wanted ('+inf', '-inf'), id that the cursor stands on or ''
-- Returns  {id, created_at, …}
-- The cursor's place among executions of one millisecond is found by halving, so that a million starts in one
-- batch cost no more than others.

local index, limit, newest, oldest, at = PREFIX .. ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5]
local low = newest == '+inf' and 0 or call('ZCOUNT', index, '(' .. newest, '+inf')
if at ~= '' then
  local high = call('ZCOUNT', index, newest, '+inf')
  while low < high do
    local middle = math.floor((low + high) / 2)
    if call('ZREVRANGE', index, middle, middle)[1] < at then
      high = middle
    else
      low = middle + 1
    end
  end
end
local stop = math.min(low + limit, call('ZCOUNT', index, oldest, '+inf')) - 1
if stop < low then
  return {}
end
return call('ZREVRANGE', index, low, stop, 'WITHSCORES')
