#!lua flags=no-writes
-- Which entries of an index have no record that says so; or, of '', which of these keys belong to no record.
-- KEYS[1]  the partition's prefix
-- ARGV     the index without the prefix or '', then its entries, or keys as "<kind>:<id>"
-- Returns  {entry or key …}
-- Needs    places

local place, found = ARGV[1], {}
for i = 2, #ARGV do
  local one = ARGV[i]
  local astray
  if place == '' then
    astray = call('EXISTS', key('x', string.sub(one, 3))) == 0
  else
    astray = is_astray(place, one)
  end
  if astray then
    found[#found + 1] = one
  end
end
return found
