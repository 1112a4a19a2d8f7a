-- Writes what a person says of an alert, if its state lets it. Returns what became of it and the state that it was in.
-- KEYS: alert, stream of reviews
-- ARGV: longest stream, result id, wanted state, who, when (UTC ns), note
local wanted = ARGV[3]
local state = redis.call('HGET', KEYS[1], 'state')
local FROM = {
  acknowledged = {new = true},
  confirmed = {new = true, acknowledged = true, false_reject = true},
  false_reject = {new = true, acknowledged = true, confirmed = true},
}

if not state then
  return {'missing', ''}
end
if state == wanted then
  return {'same', state}
end
if not FROM[wanted][state] then
  return {'refused', state}
end
redis.call('HSET', KEYS[1], 'state', wanted, 'by', ARGV[4], 'at_ns', ARGV[5], 'note', ARGV[6])
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[1], '*', 'result_id', ARGV[2], 'state', wanted, 'from', state, 'by', ARGV[4], 'at_ns', ARGV[5], 'note', ARGV[6])
return {'done', state}
