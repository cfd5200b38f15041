"""What a tab is sent: at once where it reads, else from a bounded backlog once it reads again.

Over the bound the states of documents are left out of the backlog, and the hub is asked to tell the
latest of each when all else was read; what cannot be told again and is still too much ends the tab.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from docsession import rpc
from docsession.backlog import ANSWER, EVENT, STATE, Backlog
from docsession.config import Limits
from docsession.errors import CloseCode
from docsession.interfaces import Wire

__all__ = ["Outgoing", "tell_all"]

# So much is handed to a socket at a time.
_POURED = 65536


class Outgoing:
    """The sending half of a connection. ``lagging``: it reads so slowly that it is told of documents
    only when it has read."""

    __slots__ = ("_backlog", "_limits", "_on_caught_up", "_on_lagging", "_over", "_wire", "lagging")

    def __init__(
        self,
        wire: Wire,
        limits: Limits,
        on_lagging: Callable[[Any], None],
        on_caught_up: Callable[[Any], None],
    ) -> None:
        self.lagging = False
        self._wire = wire
        self._limits = limits
        self._on_lagging = on_lagging
        self._on_caught_up = on_caught_up
        # Only while the wire takes nothing; and, so that nothing more is sent, once it is over.
        self._backlog: Backlog | None = None
        self._over = False

    def close(self, code: CloseCode, reason: str) -> None:
        """Stop serving at once and begin to close the socket."""
        raise NotImplementedError

    def notify(self, method: str, params: Any) -> None:
        """Send an event."""
        self.send_event(rpc.notification(method, params))

    def send_event(self, payload: bytes) -> None:
        """Send an encoded event that cannot be told anew."""
        if self._backlog is None:
            self._wire.send(payload)
        elif not self._over:
            self._hold(EVENT, payload)

    def tell(self, payload: bytes) -> None:
        """Send an encoded event with a document's state; whoever reads too slowly is told of it later."""
        if self._backlog is None:
            self._wire.send(payload)
        elif not self._over:
            self._hold(STATE, payload)

    def send_answer(self, payload: bytes) -> None:
        """Send the answer to a call."""
        if self._backlog is None:
            self._wire.send(payload)
        elif not self._over:
            self._hold(ANSWER, payload)

    # -- what the socket tells it

    def held_up(self) -> None:
        """The socket takes nothing more for now."""
        if self._backlog is None:
            self._backlog = Backlog()

    def drained(self) -> None:
        """The socket takes more."""
        if self._over or self._backlog is None or not self._pour(self._backlog):
            return
        self._backlog = None
        if self.lagging:
            self.lagging = False
            self._on_caught_up(self)

    # -- the end

    def pour_out(self) -> None:
        """Hand on all that waits, whether the socket takes it or not."""
        if self._backlog is not None:
            self._pour(self._backlog, whole=True)

    def send_nothing_more(self) -> None:
        """It is over."""
        self._over = True
        self._backlog = Backlog()

    # -- inside

    def _hold(self, kind: int, payload: bytes) -> None:
        """Keep it for later, within bounds."""
        backlog, limits = self._backlog, self._limits
        assert backlog is not None
        if kind == ANSWER:
            too_much = backlog.bytes > limits.unsent_answer_bytes
        else:
            most = limits.unsent_notification_bytes - len(payload)
            if backlog.events > most and not self.lagging:
                self.lagging = True
                backlog.drop_states()
                self._on_lagging(self)
            if kind == STATE and self.lagging:
                return  # of its document the latest is told when this tab has read
            # One event alone may be larger than that: a live listing's is as large as the listing.
            too_much = bool(backlog.events) and backlog.events > most
        if too_much:
            # It comes back with the versions it has and is told what it missed.
            self.close(CloseCode.SLOW_CONSUMER, "reading too slowly")
        else:
            backlog.add(kind, payload)

    def _pour(self, backlog: Backlog, *, whole: bool = False) -> bool:
        """Hand on what waited, as much as the socket takes; whether it takes more than that."""
        while backlog and (whole or self._wire.ready):
            poured = 0
            while backlog and poured < _POURED:
                payload = backlog.take()
                poured += len(payload)
                self._wire.send(payload)
            self._wire.flush()
        return not backlog and self._wire.ready


def tell_all(tabs: Sequence[Outgoing], payload: bytes) -> None:
    """Send the same state of a document to many; see :meth:`Outgoing.tell`."""
    wires = [tab._wire for tab in tabs if tab._backlog is None]
    slow = [tab for tab in tabs if tab._backlog is not None] if len(wires) < len(tabs) else ()
    if wires:
        wires[0].send_all(wires, payload)
    for tab in slow:
        tab.tell(payload)
