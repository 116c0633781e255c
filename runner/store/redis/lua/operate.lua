#!lua flags=allow-oom
-- What an operator does, whoever owns the execution.
-- KEYS[1]  the partition's prefix
-- ARGV     id, request, action, actor, entries that the decision was based on or '', then of a journal entry its id
--          and what its blob has before and behind its number, the same of a mark, the error, an audit row or '', two lists: drop (id),
--          hurry (id)
-- Returns  {verdict, status or '', wake or false, parcels, rows}
-- Repeat   recognised by the request; the wake-up it caused is given again while nobody has claimed it.
-- Needs    arguments, outbox, kin, ending, inbox, actions

local id, request, action, actor, expected = take(), take(), take(), take(), tonumber(take())
local asked = {
  entry = take(), before = take(), behind = take(), mark = take(), mark_before = take(), mark_behind = take(),
  error = take(), row = take(), drop = take_list(1),
  hurry = take_list(1),
}

local r = load(id)
if not r then
  return { 'unknown', '', false, parcels, rows }
end
if call('HEXISTS', key('d', id), request) == 1 then
  return { 'done', r.status, settled(r, request, '0')[2], parcels, rows }
end
if expected and expected ~= call('HLEN', key('j', id)) then
  return { 'changed', r.status, false, parcels, rows }
end
if not allowed[action](r) then
  return { 'refused', r.status, false, parcels, rows }
end

if asked.row ~= '' then
  add_row(r, asked.row)
else
  audit(r, 'operator', { action = action, actor = actor })
end
local woken = acts[action](r, asked)
call('HSET', key('d', id), request, woken and r.seq or 0)
return { 'done', r.status, woken and wake(r) or false, parcels, rows }
