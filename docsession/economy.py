"""What is asked of Google, as a whole: the gate with its budget, what is planned, what is wrong."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime

from docsession.config import Google
from docsession.demand import Allowance, Demand
from docsession.google.budget import Budget
from docsession.google.gate import Gate
from docsession.google.pauses import Pauses
from docsession.google.refusals import CHANNELS
from docsession.google.slowing import PAUSE, Slowing
from docsession.interfaces import Leases, Shares
from docsession.telemetry import Metrics
from docsession.troubles import WORST_FIRST, Listener, Troubles
from docsession.user_channel import AllChannel

__all__ = ["Economy"]


class Economy(Service):
    """The parts that decide how much may be asked, put together for one process."""

    def __init__(
        self,
        clock: IReactorTime,
        rng: random.Random,
        google: Google,
        shares: Shares,
        leases: Leases,
        of_all: AllChannel,
        *,
        listeners: Callable[[], Iterable[Listener]],
        has_channel: Callable[[str], bool],
        on_wait: Callable[[bool, float], None],
    ) -> None:
        self.budget = Budget(clock, google.quota, shares)
        pauses = self._pauses = Pauses(clock, rng)
        self.gate = Gate(
            clock,
            self.budget,
            pauses,
            in_flight=google.in_flight,
            per_user=google.in_flight_per_user,
            media=google.media_in_flight,
            media_per_user=google.media_in_flight_per_user,
            on_wait=on_wait,
        )
        self.demand = Demand(clock, self.budget.poll_rate, alone=lambda: leases.alone)
        shares.source(self.budget.spending, lambda: self.demand.unstretched, self.budget.spent_here)
        # That nodes are alone is told as what it is: the store is away.
        self.troubles = Troubles(clock, listeners=listeners, stretch=lambda: self.demand.crowding)
        self.slowing = Slowing(
            clock, self.gate, self.budget, pauses, tell=self.troubles.limited, say=of_all.say
        )
        of_all.on(PAUSE, self.slowing.heard)
        self.allowance = Allowance(self.demand, self.budget.cost, self.gate.held_back, has_channel)

    def startService(self) -> None:
        Service.startService(self)
        self.troubles.start()

    def stopService(self) -> None:
        Service.stopService(self)
        self.troubles.stop()

    def channels_held_back(self) -> float:
        """For how many seconds Google wants no push channel opened."""
        return self._pauses.left(None, (CHANNELS,))

    def state(self, user_id: str) -> dict[str, Any]:
        """For ``session.status``: what is under way, waits, was spent, and is wrong."""
        persons, polls = self.gate.waiting
        return {
            "in_flight": self.gate.in_flight,
            "waiting": persons,
            "polls_waiting": polls,
            "paused_for": round(self.gate.paused_for(user_id), 1),
            "stretch": round(self.demand.stretch, 2),
            "budget": self.budget.state(),
            "degraded": sorted(self.troubles.of(user_id)),
        }

    def measure(self, metrics: Metrics) -> None:
        """Show the operator where it stands."""
        gate, budget, demand = self.gate, self.budget, self.demand
        metrics.watch("google_in_flight", "Requests to Google under way.", lambda: gate.in_flight)
        metrics.watch("google_waiting", "Persons' requests waiting for their turn.", lambda: gate.waiting[0])
        metrics.watch("google_polls_waiting", "Polls waiting for their turn.", lambda: gate.waiting[1])
        metrics.watch(
            "google_spent_last_minute",
            "Spent in the last minute, in what the quota counts.",
            lambda: budget.state()["spent_last_minute"],
        )
        metrics.watch(
            "google_share",
            "What may be spent here in a minute, in what the quota counts.",
            lambda: budget.share,
        )
        metrics.watch(
            "google_spent_today",
            "Spent since midnight in California, by all nodes.",
            lambda: budget.state()["spent_today"],
        )
        metrics.watch("poll_stretch", "By how much polling intervals are longer.", lambda: demand.stretch)
        metrics.watch(
            "poll_demand", "What all polls would cost a second, unstretched.", lambda: demand.planned
        )
        metrics.watch_each(
            "troubles",
            "Whom a trouble concerns just now: users, or 1 for everybody.",
            "reason",
            {reason: partial(self.troubles.counts, reason) for reason in WORST_FIRST},
        )
