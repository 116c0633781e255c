#!lua flags=allow-oom
-- Gives the scheduler's lease back, when it is ours; standbys are told.
-- KEYS[1]  the namespace's prefix
-- ARGV     nonce
-- Returns  1 when it was ours, else 0

if call('HGET', PREFIX .. 'leader', 'nonce') ~= ARGV[1] then
  return 0
end
call('DEL', PREFIX .. 'leader')
publish('leader', 'free')
return 1
