"""One limit of this node's below a ceiling that all nodes have in common, agreed on by a script in Redis.

What must never break, for the limits of all nodes that are counted::

    the limits that Redis holds, added up,      <=  the ceiling
    what a node may spend in any minute         <=  its limit as Redis holds it

So together nodes never spend more than the ceiling in any minute. The first is the script's: a
limit grows only into what the others leave. The second is the node's: before it asks, it holds
itself to what it will be left with at least, and it takes more only from the answer to its latest
question. An answer that is lost, a question that arrives after a later one (they are numbered), or
no Redis at all: a node has what it had, or less.

A limit that is lowered never falls below what its node spent in the last minute, and one of a node
that is heard of no more counts for another minute. Where a node comes back after longer than that, or
Redis has lost what it had, nobody's limit grows for a minute, in which every node says what its own is.

Two holes are left. One for want of a way to tell it from a death: a node that is cut off from Redis for
more than a minute while the others are not keeps its limit, and so do they, and more. And a node that
begins just when Redis comes back empty may be given a limit before the others have said theirs.
"""

from __future__ import annotations

from typing import Any

from docsession.backend.redis_script import Script

__all__ = ["AGREE", "AGREEMENT", "CLOCK", "Share"]

# Redis' own clock, because nodes' clocks differ.
CLOCK = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""
AGREEMENT = """
-- KEYS: a hash for each ceiling. ARGV: this node; then for each of KEYS: the number of this question;
-- that of the last one answered, or 0; the name of the hash then; what the node holds itself to; its
-- weight (below 0: it leaves); what it plans; the ceiling.
-- Returns for each: its limit, what would be fair, the hash's name, how many nodes there are, what all
-- of them plan; nothing, where a later question was here before.
local COUNTED, ALIVE = 65000, 10000
local node, answers = ARGV[1], {}
for k, key in ipairs(KEYS) do
  local a = 2 + (k - 1) * 7
  local number, answered, known = tonumber(ARGV[a]), tonumber(ARGV[a + 1]), ARGV[a + 2]
  local own, weight, plan = tonumber(ARGV[a + 3]), tonumber(ARGV[a + 4]), tonumber(ARGV[a + 5])
  local ceiling = tonumber(ARGV[a + 6])
  local name = redis.call('HGET', key, 'name')
  if not name then
    name = string.format('%s %.0f', node, now)
    redis.call('HSET', key, 'name', name)
  end
  local taken, dead, plans, weights, last, since = 0, 0, plan, {}, nil, 0
  local entries = redis.call('HGETALL', key)
  for i = 1, #entries, 2 do
    local of = string.match(entries[i], '^node:(.*)$')
    if of then
      local l, w, p, n, at = string.match(entries[i + 1], '^(%S+) (%S+) (%S+) (%S+) (%S+)$')
      local silent = now - at
      if of == node then
        last, since = tonumber(n), silent
      elseif silent > COUNTED then
        redis.call('HDEL', key, entries[i])
      else
        taken = taken + l
        if silent > ALIVE or tonumber(w) < 0 then
          dead = dead + l
        else
          weights[#weights + 1] = tonumber(w)
          plans = plans + p
        end
      end
    end
  end
  if last and number <= last then
    answers[k] = {}
  else
    local careful = tonumber(redis.call('HGET', key, 'careful') or 0)
    if answered > 0 and (known ~= name or not last or last < answered or since > COUNTED) then
      careful = now + COUNTED
      redis.call('HSET', key, 'careful', string.format('%.0f', careful))
    end
    local nodes = #weights + 1
    local least, sum = ceiling / nodes / 20, 0
    for _, w in ipairs(weights) do sum = sum + math.max(w, least) end
    local mine = math.max(weight, least)
    -- Twice what is spent and planned, and a quarter of an even part: the rest is left for who comes next.
    local fair = math.min(math.max(0, ceiling - dead) * mine / (sum + mine), 2 * mine + ceiling / nodes / 4)
    local limit = own
    if weight >= 0 and now >= careful then
      limit = math.max(own, math.floor(math.min(fair, ceiling - taken)))
    end
    redis.call('HSET', key, 'node:' .. node,
               string.format('%.0f %.6g %.6g %.0f %.0f', limit, weight, plan, number, now))
    redis.call('PEXPIRE', key, COUNTED * 2)
    answers[k] = {limit, math.floor(fair), name, nodes, string.format('%.6g', plans)}
  end
end
return answers
"""
AGREE = Script("share", CLOCK + AGREEMENT)


class Share:
    """This node's part of one ceiling. All figures are whole numbers of what the quota counts."""

    def __init__(self) -> None:
        self.limit = 0
        self.nodes = 1
        self.plans = 0.0
        self._fair = 0
        self._spent = 0
        self._before = 0
        self._number = 0
        self._answered = 0
        self._name = ""

    def ask(self, number: int, *, spent: int, weight: float, plan: float, ceiling: int) -> list[Any]:
        """The question. From now on, and until there is an answer, the limit is what it says.

        A weight below 0: this node leaves, and nothing more is spent here.
        """
        self._number, self._spent, self._before = number, spent, self.limit
        self.limit = spent if weight < 0 else max(spent, min(self.limit, self._fair))
        return [number, self._answered, self._name, self.limit, float(weight), float(plan), ceiling]

    def take(self, answer: list[Any]) -> None:
        """The answer to the latest question."""
        if answer:
            limit, fair, name, nodes, plans = answer
            self.limit, self._fair, self.nodes, self.plans = int(limit), int(fair), int(nodes), float(plans)
            self._name, self._answered = str(name, "utf-8"), self._number

    def refused(self) -> None:
        """The latest question was never considered."""
        self.limit = self._before

    @property
    def spare(self) -> int:
        """How much the next question will give back."""
        return max(0, self.limit - max(self._spent, self._fair))
