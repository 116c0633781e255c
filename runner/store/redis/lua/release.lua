#!lua flags=allow-oom
-- Hands an owned execution back: ready at once, no crash counted.
-- KEYS[1]  the partition's prefix
-- ARGV     id, nonce
-- Returns  the wake, or false when the lease is not ours (also on a repeat)

local r = look_at(ARGV[1])
if not r or r.nonce == '' or r.nonce ~= ARGV[2] then
  return false
end
set_status(r, after(r.status, 'release'))
disown(r)
return make_ready(r)
