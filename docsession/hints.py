"""What a push notification makes due: it says that something of a user's changed, and not what.

A hint costs nothing where a change just seen in a document of that user's explains it: each change
Google tells of once, so each explains one hint. Else the user's documents are looked at, likeliest
first: where one changed, Google tells all who may see it, so the document that all who were told
have in common comes first. The first that is found changed explains the hint, and what else it may
have hidden is found by the next ordinary look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from docsession.document import Document
from docsession.tasks import Alarm

__all__ = ["Hints"]

# Hints of one change come one after the other, to each of its watchers.
MERGE = 0.5
# From one round of looks to the next: each looks at twice as many.
ROUND = 1.0
# A change seen so long ago still explains a hint; and a hint so long ago announced a change.
EXPLAINS = 10.0
ANNOUNCES = 60.0
# However far Google's number moved: it may count what it tells nobody of.
MOST = 20
# Given so much time, a hint that has not come is missing.
LATE = 30.0
# Whose hints are about files that nobody here watches is searched for less and less often.
_FIRST_GAP, _MOST_GAP = 2.0, 60.0


class _Search:
    """For what a user's hint was about. Documents looked at since are not it."""

    __slots__ = ("again", "asked", "begin_at", "hints", "most", "since")

    def __init__(self, since: float, begin_at: float) -> None:
        self.since = since
        self.begin_at = begin_at
        self.most = 1
        self.hints = 1
        # A hint came after the first looks: what they saw may have changed since.
        self.again = False
        self.asked: dict[str, float] = {}


class _Past:
    """What is remembered of a user's hints."""

    __slots__ = ("explains", "explains_until", "gap", "last", "searched_at")

    def __init__(self) -> None:
        self.last = float("-inf")
        self.searched_at = float("-inf")
        self.gap = 0.0
        # So many hints to come are explained by changes that were seen already.
        self.explains = 0
        self.explains_until = float("-inf")


class Hints:
    """Searches under way, by user. ``on_hint`` hears what became of each hint, ``elsewhere`` whose was
    about no document that they watch."""

    def __init__(
        self,
        clock: IReactorTime,
        *,
        watched_by: Callable[[str], Iterable[Document]],
        look: Callable[[Document], None],
        has_channel: Callable[[str], bool],
        stretch: Callable[[], float],
        elsewhere: Callable[[str], None] = lambda user_id: None,
        on_hint: Callable[[str], None] = lambda outcome: None,
    ) -> None:
        self._clock = clock
        self._watched_by = watched_by
        self._look = look
        self._has_channel = has_channel
        self._stretch = stretch
        self._elsewhere = elsewhere
        self._on_hint = on_hint
        self._searches: dict[str, _Search] = {}
        self._past: dict[str, _Past] = {}
        self._unannounced: dict[str, IDelayedCall] = {}
        self._alarm = Alarm(clock, self._round)

    def hint(self, user_id: str) -> None:
        """Google says that something of this user's changed."""
        now = self._clock.seconds()
        past = self._past.setdefault(user_id, _Past())
        past.last = now
        search = self._searches.get(user_id)
        if search is not None:
            search.hints += 1
            if search.asked:
                search.again = True
            else:
                search.since = now
            self._on_hint("merged")
        elif not any(True for _ in self._watched_by(user_id)):
            self._not_here(user_id)
        elif past.explains and now <= past.explains_until:
            past.explains -= 1
            past.gap = 0.0
            self._on_hint("explained")
        else:
            self._search(user_id, past, now, since=now)

    def moved(self, document: Document, changes: int = 1) -> None:
        """So many changes of it were seen just now: that is what its watchers' hints are about."""
        now = self._clock.seconds()
        for user_id in filter(self._has_channel, document.watchers):
            past = self._past.setdefault(user_id, _Past())
            left = changes
            search = self._searches.pop(user_id, None)
            if search is not None:
                left = max(0, changes - search.hints)
                past.gap = 0.0
                self._on_hint("found")
            left += past.explains if now <= past.explains_until else 0
            past.explains = min(MOST, left)
            past.explains_until = now + EXPLAINS

    def seen_unasked(self, document: Document) -> None:
        """An ordinary look saw it changed, though all its watchers should have had a hint."""
        now = self._clock.seconds()
        if document.id not in self._unannounced and not self._was_announced(document, now):
            self._unannounced[document.id] = self._clock.callLater(LATE, self._missed, document, now)

    def forget(self, user_id: str) -> None:
        """The user's session ended."""
        self._searches.pop(user_id, None)
        self._past.pop(user_id, None)

    def stop(self) -> None:
        """Nothing is searched for any more."""
        self._searches.clear()
        self._alarm.off()
        for call in self._unannounced.values():
            call.cancel()
        self._unannounced.clear()

    # -- inside

    def _search(self, user_id: str, past: _Past, now: float, *, since: float) -> None:
        begin_at = max(now + MERGE, past.searched_at + past.gap * self._stretch())
        self._searches[user_id] = _Search(since, begin_at)
        self._alarm.by(begin_at)

    def _round(self) -> None:
        now = self._clock.seconds()
        open_now = {user: search for user, search in self._searches.items() if search.begin_at <= now}
        for document in self._likeliest_first(open_now):
            searchers = [open_now[user] for user in document.watchers if user in open_now]
            if any(search.most > 0 for search in searchers):
                for search in searchers:
                    search.most -= 1
                    search.asked[document.id] = now
                self._look(document)
        for user_id, search in open_now.items():
            search.most = 2 * max(1, len(search.asked))
            if not self._left(user_id, search) and self._searches.get(user_id) is search:
                self._ended(user_id, now)
        waiting = [max(search.begin_at, now + ROUND) for search in self._searches.values()]
        if waiting:
            self._alarm.by(min(waiting))

    def _likeliest_first(self, searches: dict[str, _Search]) -> list[Document]:
        found = {doc.id: doc for user, search in searches.items() for doc in self._left(user, search)}

        def rank(document: Document) -> tuple[float, int, float, float]:
            told = sum(user in self._searches for user in document.watchers)
            would_be = sum(map(self._has_channel, document.watchers))
            return -told / max(1, would_be), -told, -document.bumped_at, document.as_of

        return sorted(found.values(), key=rank)

    def _left(self, user_id: str, search: _Search) -> list[Document]:
        """What the hint may still have been about."""
        return [
            document
            for document in self._watched_by(user_id)
            if document.as_of <= search.since and document.id not in search.asked
        ]

    def _ended(self, user_id: str, now: float) -> None:
        """All were looked at (or are being): if none of them has changed, it was about another file."""
        search = self._searches[user_id]
        if any(now - at < ROUND for at in search.asked.values()):
            return  # the last looks are under way
        del self._searches[user_id]
        past = self._past[user_id]
        past.searched_at = now
        # The first time it may be that a replica of Google's has not heard of the change yet.
        lagging = not past.gap
        past.gap = min(_MOST_GAP, max(_FIRST_GAP, past.gap * 2))
        self._not_here(user_id)
        if search.again or lagging:
            self._search(user_id, past, now, since=now if lagging else past.last)

    def _not_here(self, user_id: str) -> None:
        """It was about no document that this user watches."""
        self._on_hint("not_found")
        self._elsewhere(user_id)

    def _was_announced(self, document: Document, when: float) -> bool:
        hints = [self._past[user].last for user in document.watchers if user in self._past]
        return any(last >= when - ANNOUNCES for last in hints)

    def _missed(self, document: Document, when: float) -> None:
        self._unannounced.pop(document.id, None)
        if document.watchers and not self._was_announced(document, when):
            self._on_hint("missed")
