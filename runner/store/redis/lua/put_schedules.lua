#!lua flags=allow-oom
-- Compares and sets schedules, each on its own. All in one command: a server that syncs before it answers does so once.
-- KEYS[1]  the namespace's prefix
-- ARGV     id, revision, created_at, due_at ('' for never), blob, and so on for each
-- Returns  {for each 1 when it is stored, 0 when what is kept is not the revision before it, made at the same time}
-- Repeat   recognised by its content
-- Needs    timetable

local function put(id, revision, created_at, due_at, blob)
  local new, kept = revision .. ' ' .. created_at .. ' ' .. blob, call('HGET', SCHEDULES, id)
  if kept == new then
    return 1
  end
  local expected = string.format('%.0f ', tonumber(revision) - 1) .. created_at .. ' '
  if kept and string.sub(kept, 1, #expected) ~= expected or not kept and tonumber(revision) ~= 1 then
    return 0
  end
  call('HSET', SCHEDULES, id, new)
  call('ZADD', NAMES_IN_ORDER, 0, id)
  if due_at then
    set_due(id, due_at)
  else
    call('ZREM', DUE, id)
  end
  return 1
end

local answers = {}
for i = 1, #ARGV, 5 do
  answers[#answers + 1] = put(ARGV[i], ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3]), ARGV[i + 4])
end
return answers
