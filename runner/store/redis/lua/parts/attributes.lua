-- Attributes are fields of the record, "@<name>" with a JSON text, and each name and text is an index of its own.

local function attribute_index(field, text)
  return PREFIX .. 'by:attr:' .. string.sub(field, 2) .. ':' .. text
end

-- Sets attributes, given as {name, text} each; others stay.
local function set_attributes(r, attributes)
  for _, row in ipairs(attributes) do
    local field, text = '@' .. row[1], row[2]
    local kept = call('HGET', key('x', r.id), field)
    if kept and kept ~= text then
      call('ZREM', attribute_index(field, kept), r.id)
    end
    call('HSET', key('x', r.id), field, text)
    call('ZADD', attribute_index(field, text), r.created_at, r.id)
  end
end

-- Off all of its attributes' indexes; the record itself goes with its key.
local function leave_attributes(r)
  for _, field in ipairs(call('HKEYS', key('x', r.id))) do
    if string.sub(field, 1, 1) == '@' then
      call('ZREM', attribute_index(field, call('HGET', key('x', r.id), field)), r.id)
    end
  end
end
