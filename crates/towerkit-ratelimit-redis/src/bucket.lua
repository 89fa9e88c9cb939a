-- Takes up to ARGV[5] tokens from the bucket KEYS[1], by the clock of the server. Returns the number of tokens taken, and the
-- microseconds until there is another token (0 if there is one now).
--
-- The state of a bucket is the number of ticks that it lacks, the time of that state, and the ticks of a token. The quota is ARGV[1],
-- the ticks of a token; ARGV[2], the ticks by which it fills per microsecond; ARGV[3], the ticks of a full bucket; and ARGV[4], the
-- microseconds in which it fills. No number here exceeds 2^53, so that the arithmetic of doubles is exact. A full bucket has no key.
local token, flow, size, fill = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local asked = tonumber(ARGV[5])
local time = redis.call("TIME")
local now = time[1] * 1000000 + time[2]

local lack, seen, behind, moved = 0, now, 0, false
local state = redis.call("GET", KEYS[1])
if state then
    local lack_then, seen_then, token_then = string.match(state, "^(%d+) (%d+) (%d+)$")
    if not lack_then then
        return redis.error_reply("WRONGTYPE the key is not a bucket")
    end
    lack, seen = tonumber(lack_then), tonumber(seen_then)
    if tonumber(token_then) ~= token then
        lack = math.ceil(lack / tonumber(token_then) * token)
    end
    lack = math.min(lack, size)
end

if now < seen then
    -- The clock was set back. The bucket fills again once the clock has caught up or, if that takes longer than to fill the bucket,
    -- from now on.
    if seen - now <= fill then
        behind = seen - now
        now = seen
    else
        moved = true
    end
elseif now - seen >= fill then
    lack = 0
else
    lack = math.max(0, lack - (now - seen) * flow)
end

local granted = math.min(asked, math.floor((size - lack) / token))
lack = lack + granted * token
if granted > 0 or moved then
    local milliseconds = math.ceil((math.ceil(lack / flow) + behind) / 1000) + 1
    redis.call("SET", KEYS[1], string.format("%.0f %.0f %.0f", lack, now, token), "PX", string.format("%.0f", milliseconds))
end
local wait = 0
if size - lack < token then
    wait = behind + math.ceil((lack + token - size) / flow)
end
return { granted, wait }
