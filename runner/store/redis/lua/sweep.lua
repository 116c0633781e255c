#!lua flags=allow-oom
-- Removes one thing that belongs to nothing, if that is still so; what fades is kept for good.
-- KEYS[1]  a prefix
-- ARGV     'data', 'entry' or 'fading'; the key or index without the prefix; the entry
-- Returns  1 when it was removed or kept, else 0
-- Needs    places

local kind, place, id = ARGV[1], ARGV[2], ARGV[3]
if kind == 'fading' then
  return call('PERSIST', PREFIX .. place)
end
if kind == 'data' then
  return call('EXISTS', key('x', string.sub(place, 3))) == 0 and call('UNLINK', PREFIX .. place) or 0
end
return is_astray(place, id) and call('ZREM', PREFIX .. place, id) or 0
