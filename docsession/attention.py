"""How often a document is looked at: who looks, how lively it is, who else would tell, what fits."""

from __future__ import annotations

import random
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from docsession.config import Polling
from docsession.demand import Allowance
from docsession.document import Document
from docsession.google.table import COSTS
from docsession.neighbours import COMMENTS, FILE

__all__ = ["Intervals"]

# Where it is another node's turn, it is left so much longer time than this one would take, and so many
# seconds more, in which a look that was due is made and told of.
PATIENCE, PATIENCE_MORE = 1.5, 2.0
# Quiet for so long, a document begins to be looked at less often; at most by this factor.
QUIET = 600.0
QUIET_MOST = 4.0


class Intervals:
    """Works out intervals in seconds, and keeps the demand they make up to date."""

    def __init__(
        self,
        clock: IReactorTime,
        rng: random.Random,
        polling: Polling,
        allowance: Allowance,
        *,
        mine: Callable[[str, str], bool] = lambda what, file_id: True,
    ) -> None:
        self._clock = clock
        self._rng = rng
        self._polling = polling
        self._demand = allowance.demand
        self._cost = allowance.cost
        self._has_channel = allowance.has_channel
        self._mine = mine

    def visible(self, document: Document) -> bool:
        """Whether anybody has it before their eyes."""
        if document.visible is None:
            document.visible = any(watcher.visible for watcher in document.watchers.values())
        return document.visible

    def announced(self, document: Document) -> bool:
        """Whether Google would tell every one of its watchers of a change."""
        if document.announced is None:
            document.announced = bool(document.watchers) and all(map(self._has_channel, document.watchers))
        return document.announced

    def joined(self, document: Document, user_id: str, *, visible: bool) -> bool:
        """Somebody watches it from now on. Whether it is to be looked at more or less often for that;
        nobody else who watches has to be asked."""
        document.stirred_at = self._clock.seconds()
        if visible:
            document.visible = True
        if len(document.watchers) == 1 or document.announced:
            document.announced = self._has_channel(user_id)
        return self._unstretched(document) != document.planned

    def of(self, document: Document) -> float:
        """From one look to the next; the document's demand is that from now on. Where another node
        looks: after how long it should have."""
        document.planned = interval = self._unstretched(document)
        if self._mine(FILE, document.id):
            self._demand.plan(document.id, self._cost(COSTS["read"]), interval)
            return self._spread(interval)
        self._demand.drop(document.id)
        return self._spread(interval) * PATIENCE + PATIENCE_MORE

    def of_comments(self, document: Document) -> float:
        """From one look at its comments to the next, where nothing else calls for one."""
        interval = self._polling.comments
        if self._mine(COMMENTS, document.id):
            self._demand.plan((document.id, COMMENTS), self._cost(COSTS["list"]), interval)
            return self._spread(interval)
        self._demand.drop((document.id, COMMENTS))
        return self._spread(interval) * PATIENCE + PATIENCE_MORE

    def drop(self, document: Document) -> None:
        """Nobody watches it any more."""
        self._demand.drop(document.id)
        self._demand.drop((document.id, COMMENTS))

    def _unstretched(self, document: Document) -> float:
        polling, visible = self._polling, self.visible(document)
        if self.announced(document):
            # Only for a message that was lost: however quiet it is.
            return polling.visible_with_push if visible else polling.hidden_with_push
        interval = polling.visible if visible else polling.hidden
        quiet = (self._clock.seconds() - document.stirred_at) / QUIET
        return interval * min(QUIET_MOST, max(1.0, quiet))

    def _spread(self, interval: float) -> float:
        return self._demand.stretched(interval, self._rng, self._polling.jitter)
