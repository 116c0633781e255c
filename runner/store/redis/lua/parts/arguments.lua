-- Reads ARGV from its beginning, one word or one list after the other; a list is led by its length.

local cursor = 0

local function take()
  cursor = cursor + 1
  return ARGV[cursor]
end

-- Rows of `width` words each.
local function take_list(width)
  local list = {}
  for i = 1, tonumber(take()) do
    local row = {}
    for j = 1, width do
      row[j] = take()
    end
    list[i] = row
  end
  return list
end
