"""Who else watches the same documents: whose turn it is to look, and what is said to the others.

Each node that watches a document wants its lease; who holds it looks. The others are told what
was seen, and look themselves only where they hear nothing for too long. All that is said is a
hint: what it is about is in the store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from docsession.document import Document
from docsession.interfaces import Bus, Leases

__all__ = ["COMMENTS", "FILE", "Neighbours"]

FILE, COMMENTS = "file", "comments"


class Neighbours:
    """The other nodes, as far as documents go. ``hear(file_id, message)`` is called with what they
    say, ``on_turn(file_id, what)`` when it has become another's turn, or ours."""

    def __init__(self, bus: Bus, leases: Leases) -> None:
        self._bus = bus
        self._leases = leases
        self.hear: Callable[[str, Mapping[str, Any]], None] = lambda file_id, message: None
        self.on_turn: Callable[[str, str], None] = lambda file_id, what: None

    # -- whose turn it is

    def join(self, file_id: str) -> None:
        """It is watched here from now on."""
        self._bus.subscribe(_channel(file_id), lambda message: self.hear(file_id, message))
        self._want(FILE, file_id)

    def join_comments(self, file_id: str) -> None:
        """So are its comments."""
        self._want(COMMENTS, file_id)

    def leave(self, file_id: str) -> None:
        """It is not watched here any more."""
        self._bus.unsubscribe(_channel(file_id))
        self._leases.drop(_lease(FILE, file_id))
        self._leases.drop(_lease(COMMENTS, file_id))

    def leave_comments(self, file_id: str) -> None:
        """Its comments are not."""
        self._leases.drop(_lease(COMMENTS, file_id))

    def mine(self, what: str, file_id: str) -> bool:
        """Whether it is this node that looks."""
        return self._leases.holds(_lease(what, file_id))

    def seize(self, what: str, file_id: str) -> None:
        """From now on it is this node, whoever it was."""
        self._leases.seize(_lease(what, file_id))

    # -- what is said to the others

    def say_seen(self, document: Document, via: str, *, user_id: str | None = None) -> None:
        """It was looked at (by that user), or its state is stored: it is what the mark says, and since
        when looks count. That it moved all nodes hear: what they keep of it is old, whether they watch
        it or not."""
        stalest = document.stalest(document.as_of)
        message = {
            "kind": "seen",
            "mark": document.mark,
            "at": document.as_of,
            "doubted": document.doubted.get(None, 0.0),
            "via": via,
            "user": user_id,
            "stalest": stalest,
        }
        if document.unsaid_move:
            document.unsaid_move = False
            self._bus.publish("all", {**message, "kind": "moved", "file": document.id})
        else:
            self._say(document.id, **message)

    def say_commented(self, document: Document, via: str, user_id: str | None = None) -> None:
        """Its comments were looked at (by that user), or written to."""
        discussion = document.discussion
        self._say(
            document.id,
            kind="commented",
            digest=discussion.digest,
            at=discussion.looked_at,
            via=via,
            user=user_id,
        )

    def say_due(self, file_id: str, what: str, since: float, why: str) -> None:
        """Something happened to it then: whose turn it is may look."""
        self._say(file_id, kind="due", what=what, since=since, why=why)

    def say_deleted(self, file_id: str) -> None:
        """It was deleted for good."""
        self._say(file_id, kind="deleted")

    def say_moved(self, file_id: str) -> None:
        """To all nodes: something was written to it, what they keep of it is old."""
        self._bus.publish("all", {"kind": "moved", "file": file_id})

    async def watch_too(self, file_id: str) -> bool:
        """Whether other nodes do. May raise Unavailable."""
        return await self._bus.listeners(_channel(file_id)) > 0

    # -- inside

    def _want(self, what: str, file_id: str) -> None:
        self._leases.want(_lease(what, file_id), lambda held: self.on_turn(file_id, what))

    def _say(self, file_id: str, **message: Any) -> None:
        self._bus.publish(_channel(file_id), message)


def _channel(file_id: str) -> str:
    return f"document:{file_id}"


def _lease(what: str, file_id: str) -> str:
    return f"{what}:{file_id}"
