-- Versioned writes. Everything here reads before it writes and is atomic; the newest version wins.
-- A member begins {"start":…,"end":…,"state":…,"v":"<19 digits>"[,"expires":<ms>]: see member.rs.
-- Each operation takes its keys, the arguments, and where in them its own begin.
-- What is replaced goes after the new is there: a key that becomes empty while its slot moves to another server can't be
-- written here again, not even by the same call. A board that this happens to keeps its version, and is written anew.

local HEAD = '^{"start":[^,]+,"end":[^,]+,"state":"%a+","v":"%d+"'

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function version_of(member)
  return string.match(member, '"v":"(%d+)"')
end

local function expires_of(member)
  return tonumber(string.match(member, HEAD .. ',"expires":(%d+)'))
end

-- A key expires with its longest-lived part; one part that lives for ever keeps it. `before` is PTTL before the write.
local function prolong(key, before, longest, endless, now)
  if endless then
    if before >= 0 then redis.call('PERSIST', key) end
  elseif longest > 0 and (before < 0 or now + before < longest) then
    redis.call('PEXPIREAT', key, string.format('%.0f', math.max(longest, now + 1000)))
  end
end

-- Expired members at the low end; a few a call keep up with any number of writes.
local function trim(key, count, now)
  for _, member in ipairs(redis.call('ZRANGE', key, 0, count - 1)) do
    local expires = expires_of(member)
    if expires and expires <= now then redis.call('ZREM', key, member) end
  end
end

-- rows: one group's key; then (identity, score, version, expires or '', member) for each row.
-- A row past its expiry is written only over an earlier version of itself. Returns how many were written.
local function rows(keys, args, first)
  local key, now = keys[1], now_ms()
  local before = redis.call('PTTL', key)
  local written, longest, endless = 0, 0, false
  for i = first, #args, 5 do
    local identity, score, version, expires, member = args[i], args[i + 1], args[i + 2], tonumber(args[i + 3]), args[i + 4]
    local stored = nil
    for _, candidate in ipairs(redis.call('ZRANGEBYSCORE', key, score, score)) do
      if string.sub(candidate, 1, #identity) == identity then stored = candidate end
    end
    local stale = stored and version_of(stored) > version
    local too_old = not stored and expires and expires <= now
    if not stale and not too_old then
      if stored ~= member then
        redis.call('ZADD', key, score, member)
        if stored then redis.call('ZREM', key, stored) end
      end
      written = written + 1
      if expires then longest = math.max(longest, expires) else endless = true end
    end
  end
  if written > 0 then
    prolong(key, before, longest, endless, now)
    trim(key, 2 * written + 6, now)
  end
  return written
end

-- groups: one part of a view's index; then the score below which groups are forgotten ('' for none);
-- then (score, expires or '', group) for each. A score never goes down.
local function groups(keys, args, first)
  local key, now = keys[1], now_ms()
  local before = redis.call('PTTL', key)
  local longest, endless = 0, false
  for i = first + 1, #args, 3 do
    local score, expires, group = args[i], tonumber(args[i + 1]), args[i + 2]
    if not expires or expires > now then
      redis.call('ZADD', key, 'GT', score, group)
      if expires then longest = math.max(longest, expires) else endless = true end
    end
  end
  if args[first] ~= '' then redis.call('ZREMRANGEBYSCORE', key, '-inf', '(' .. args[first]) end
  prolong(key, before, longest, endless, now)
  return 1
end

-- Drops expired rows of a board hash and tells how many fields are left.
local function sweep(key, now)
  local cursor = '0'
  repeat
    local page = redis.call('HSCAN', key, cursor, 'COUNT', 1000)
    cursor = page[1]
    for i = 1, #page[2], 2 do
      local expires = expires_of(page[2][i + 1])
      if expires and expires <= now then redis.call('HDEL', key, page[2][i]) end
    end
  until cursor == '0'
  return redis.call('HLEN', key)
end

-- What the parts of a cut say of earlier ones, at args[first]: the place of the cut that began to write lost rows again (''
-- for none; its own if it begins), whether that ends ('ends' or ''), the place it follows, its own place, the page before it
-- ('' for none), and this page ('' when it is the last). A place is the writer's generation (20 digits), the version (19),
-- and the step of the cut among those of that version (10). A mark is a hash: at, the place of the newest cut that was
-- written whole; page, the last page of one that was not; again, the place of the cut that began to write lost rows again, as
-- long as that lasts. And for readers lost_after, from which version on they were lost, until the frontiers are as far too.
local MARK = 6
local GENERATION, VERSION = 20, 19

-- The version of a place; '' for that of none.
local function version_at(place)
  return string.sub(place, GENERATION + 1, GENERATION + VERSION)
end

-- The place of the newest cut that was written whole; '' for none.
local function at(key)
  return redis.call('HGET', key, 'at') or ''
end

local function generation_of(place)
  return string.sub(place, 1, GENERATION)
end

-- Whether the writer follows on what another process wrote: its mark is put where it begins, whatever is there.
local function takes_over(args, first)
  return generation_of(args[first + 2]) ~= generation_of(args[first + 3])
end

-- Whether the writer comes late: another process has taken over and looks after losses.
local function is_over(key, args, first)
  return not takes_over(args, first) and generation_of(at(key)) > generation_of(args[first + 3])
end

-- Says that a cut is written whole.
local function note(key, args, first)
  if is_over(key, args, first) then return end
  local ends, this = args[first + 1] == 'ends', args[first + 3]
  if takes_over(args, first) or at(key) < this then redis.call('HSET', key, 'at', this) end
  redis.call('HDEL', key, 'page')
  -- Not by a call that a later one has overtaken: what was lost since is not written again yet.
  if ends and at(key) == this then redis.call('HDEL', key, 'again') end
end

-- Whether what the writer was told is written is not there: the server has gone back.
local function lacks(key, args, first)
  if is_over(key, args, first) then return false end
  local begun, previous, this, before, page = args[first], args[first + 2], args[first + 3], args[first + 4], args[first + 5]
  local stored = at(key)
  if begun ~= this then
    if (redis.call('HGET', key, 'again') or begun) ~= begun then return true end
    if tonumber(previous) > 0 and stored < previous then return true end
  end
  if before == '' or stored == this or (stored > this and not takes_over(args, first)) then return false end
  local marked = redis.call('HGET', key, 'page') or ''
  return marked ~= before and (page == '' or marked ~= page)
end

-- mark: a mark's key; then what is said above. Returns what became of it (written | lost) and the version that was stored.
local function mark(keys, args, first)
  local key, page = keys[1], args[first + 5]
  local stored = version_at(at(key))
  if lacks(key, args, first) then return {'lost', stored} end
  if page == '' then
    note(key, args, first)
  elseif not is_over(key, args, first) then
    redis.call('HSET', key, 'page', page)
  end
  return {'written', stored}
end

-- lost: a mark's key; then what is said above, and 'readers' if it is the frontiers' key. Says which cut begins to write lost
-- rows again, and to readers from which version on they were lost, unless that is said already.
local function lost(keys, args, first)
  local key = keys[1]
  if is_over(key, args, first) then return 0 end
  redis.call('HSET', key, 'again', args[first + 3])
  if args[first + MARK] == 'readers' then
    redis.call('HSETNX', key, 'lost_after', redis.call('HGET', key, 'v') or string.rep('0', VERSION))
  end
  return 1
end

-- board: the frontiers' key, which is a mark too, and the board hashes; then what is said above, how (follow | lay_over |
-- replace), the number of groups a hash may have, the number of frontiers, (field, value) for each, and (which key,
-- view, group, expires or '', member or '') for each newest row.
-- Returns what became of it (written | other | newer | lost) and the version that was stored.
local function board(keys, args, first)
  local asof = keys[1]
  local previous, version = version_at(args[first + 2]), version_at(args[first + 3])
  local how, limit = args[first + MARK], tonumber(args[first + MARK + 1])
  local stored = redis.call('HGET', asof, 'v') or ''
  if lacks(asof, args, first) then return {'lost', version_at(at(asof))} end
  local newer = stored > version
  local follows = stored == previous or stored == version or (stored == '' and tonumber(previous) == 0)
  if how == 'follow' and not newer and not follows then return {'other', stored} end
  note(asof, args, first)
  if newer then return {'newer', stored} end
  local is_last = at(asof) == args[first + 3]
  if is_last and redis.call('HEXISTS', asof, 'again') == 0 then redis.call('HDEL', asof, 'lost_after') end
  if how == 'replace' then
    for _, field in ipairs(redis.call('HKEYS', asof)) do
      if field ~= 'v' and field ~= 'at' and field ~= 'again' and field ~= 'lost_after' then redis.call('HDEL', asof, field) end
    end
    if #keys > 1 then redis.call('DEL', unpack(keys, 2)) end
  end
  local now = now_ms()
  local frontiers = first + MARK + 3
  local i = frontiers + 2 * tonumber(args[first + MARK + 2])
  local groups_at = i
  local hashes = {}
  while i <= #args do
    local key, view, group = keys[tonumber(args[i])], args[i + 1], args[i + 2]
    local expires, member = tonumber(args[i + 3]), args[i + 4]
    local hash = hashes[key]
    if not hash then
      hash = {before = redis.call('PTTL', key), fields = redis.call('HLEN', key), longest = 0, endless = false}
      hashes[key] = hash
    end
    if member == '' then
      hash.fields = hash.fields - redis.call('HDEL', key, group)
    else
      local new = redis.call('HEXISTS', key, group) == 0
      if new and hash.fields >= limit and not hash.swept then
        hash.swept = true
        hash.fields = sweep(key, now)
      end
      if not new or hash.fields < limit then
        hash.fields = hash.fields + redis.call('HSET', key, group, member)
        if expires then hash.longest = math.max(hash.longest, expires) else hash.endless = true end
      else
        redis.call('HSET', asof, 'truncated:' .. view, tostring(limit))
      end
    end
    i = i + 5
  end
  for key, hash in pairs(hashes) do prolong(key, hash.before, hash.longest, hash.endless, now) end
  -- Last: whoever reads this version reads its rows.
  for n = frontiers, groups_at - 1, 2 do redis.call('HSET', asof, args[n], args[n + 1]) end
  return {'written', stored}
end
