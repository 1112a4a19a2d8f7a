-- Stores one alert once: a stream entry, its hash, its picture with a time to live. Returns 1 when it is new, 0 when it was here.
-- KEYS: stream, alert, picture
-- ARGV: longest stream, seconds the picture lives, picture or '', how many words the entry has, the entry's words, the hash's words
local stream, alert, picture = KEYS[1], KEYS[2], KEYS[3]
local longest, words = tonumber(ARGV[1]), tonumber(ARGV[4])
local SLACK = 100 -- the stream may be this much too long, so that it is seldom trimmed

-- A console that knows the verdict may have said something of it while the station could not reach Redis: that is no alert yet.
local kind = redis.call('TYPE', alert).ok
if kind ~= 'none' and (kind ~= 'hash' or redis.call('HEXISTS', alert, 'entry') == 1) then
  return 0
end
local said = kind == 'hash' and redis.call('HGET', alert, 'state')
local entry = redis.call('XADD', stream, '*', unpack(ARGV, 5, 4 + words))
redis.call('HSET', alert, 'entry', entry, unpack(ARGV, 5 + words))
if said then
  redis.call('HSET', alert, 'state', said)
end
if ARGV[3] ~= '' then
  redis.call('SET', picture, ARGV[3], 'EX', ARGV[2])
end

-- An alert goes when its stream entry goes: otherwise the hashes would fill the memory. An entry of somebody else has no alert, whatever
-- it names, and what lies under that name may be no hash.
local excess = redis.call('XLEN', stream) - longest
if excess >= SLACK then
  for _, old in ipairs(redis.call('XRANGE', stream, '-', '+', 'COUNT', 2 * SLACK)) do
    if excess > 0 then
      local named = 'mdss:alert:' .. old[2][2]
      if redis.pcall('HGET', named, 'entry') == old[1] then
        redis.call('DEL', named, 'mdss:evidence:' .. old[2][2])
      end
      redis.call('XDEL', stream, old[1])
      excess = excess - 1
    end
  end
end
return 1
