"""Push channels with a Google that answers when a test says so, and a store in memory."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from docsession.backend.memory import Switchboard, WholeQuota
from docsession.errors import Unavailable
from docsession.google.channel import State
from docsession.google.channel_calls import NotOpened, NotStopped, Opened
from docsession.google.channels import Channels
from docsession.google.notifications import Notifications
from docsession.interfaces import Backend
from docsession.keys import ChannelSigner, Keys
from docsession.model import ChannelRecord
from docsession.user_channel import UserChannel
from tests.unit.google import FakeAccount, clock

SIGNER = ChannelSigner(Keys(signing=(b"s" * 32,), sealing=(b"k" * 32,)))
LIFE = 604_800.0


class FakeStore:
    """Channels, kept as the port says."""

    def __init__(self) -> None:
        self.rows: dict[str, ChannelRecord] = {}
        self.away = False
        self.loads = 0
        self.waiting: list[Deferred[None]] | None = None  # loads of one channel wait in it

    def _ready(self) -> None:
        if self.away:
            raise Unavailable

    async def add_channel(self, record: ChannelRecord, *, replaces: str | None) -> bool:
        self._ready()
        newest = next(iter(await self.load_channels(record.user_id)), None)
        if (newest and newest.id) != replaces:
            return False
        self.rows[record.id] = record
        return True

    async def save_channel(self, record: ChannelRecord) -> None:
        self._ready()
        if record.id in self.rows:
            self.rows[record.id] = record

    async def load_channels(self, user_id: str) -> list[ChannelRecord]:
        self._ready()
        found = [record for record in self.rows.values() if record.user_id == user_id]
        return sorted(found, key=lambda record: -record.generation)

    async def load_channel(self, channel_id: str) -> ChannelRecord | None:
        self.loads += 1
        self._ready()
        if self.waiting is not None:
            turn: Deferred[None] = Deferred()
            self.waiting.append(turn)
            await turn
        return self.rows.get(channel_id)

    async def delete_channel(self, channel_id: str) -> None:
        self._ready()
        self.rows.pop(channel_id, None)


class FakeCalls:
    """Google: opens and stops, unless ``opening`` or ``stopping`` has something else to say.

    An exception there is raised, a Deferred is waited for; one entry is used once.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.asked: list[tuple[str, str]] = []
        self.opening: list[Any] = []
        self.stopping: list[Any] = []
        self.always: NotOpened | None = None
        self.life = LIFE
        self.said: list[str] = []
        self.times: list[float] = []
        self.on_open: Callable[[ChannelRecord], object] = lambda record: None
        self.under_way = self.most_under_way = 0
        self.tokens = 0

    async def start_token(self, account: Any) -> str:
        self.tokens += 1
        return "660"

    async def open(self, account: Any, record: ChannelRecord, page_token: str) -> Opened:
        assert page_token == "660"
        self.asked.append(("open", record.id))
        self.times.append(self.clock.seconds())
        self.on_open(record)
        if self.always is not None:
            raise self.always
        self.under_way += 1
        self.most_under_way = max(self.under_way, self.most_under_way)
        try:
            await self._said(self.opening)
        finally:
            self.under_way -= 1
        return Opened(f"resource of {record.id}", self.clock.seconds() + self.life)

    async def stop(self, account: Any, record: ChannelRecord) -> None:
        assert record.resource_id is not None
        self.asked.append(("stop", record.id))
        await self._said(self.stopping)

    def say_of_address(self, reason: str) -> None:
        self.said.append(reason)

    async def _said(self, what: list[Any]) -> None:
        if what:
            answer = what.pop(0)
            if isinstance(answer, Deferred):
                answer = await answer
            if isinstance(answer, Exception):
                raise answer

    @property
    def opened(self) -> list[str]:
        return [channel_id for what, channel_id in self.asked if what == "open"]

    @property
    def stopped(self) -> list[str]:
        return [channel_id for what, channel_id in self.asked if what == "stop"]


class Push:
    """One process; one of several, where they are given the same store, clock and ``board``."""

    def __init__(
        self,
        store: FakeStore | None = None,
        now: Clock | None = None,
        *,
        names: str = "c",
        per_second: float = 2,
        board: Switchboard | None = None,
    ) -> None:
        self.clock = now or clock()
        self.store = store or FakeStore()
        self.bus, self.leases = (board or Switchboard(self.clock)).node(names)
        self.of_users = UserChannel(self.bus)
        self.calls = FakeCalls(self.clock)
        self.changed: list[tuple[str, bool]] = []
        self.outcomes: list[str] = []
        self.hints: list[str] = []
        self.messages: list[str] = []
        self._names = names
        self._made = 0
        self.accounts: dict[str, FakeAccount] = {}
        self.channels = Channels(
            self.calls,
            Backend(self.store, self.bus, self.leases, WholeQuota()),  # type: ignore[arg-type]
            self.of_users,
            self.clock,
            random.Random(3),
            life=LIFE,
            renew_at=0.8,
            openings_per_second=per_second,
            new_id=self.new_id,
            on_changed=lambda user: self.changed.append((user, self.channels.is_live(user))),
            on_opening=self.outcomes.append,
        )
        self.notifications = Notifications(
            self.channels,
            self.store,  # type: ignore[arg-type]
            SIGNER,
            self.of_users,
            self.clock,
            on_hint=self.hints.append,
            on_message=self.messages.append,
        )
        self.channels.startService()

    def new_id(self) -> str:
        self._made += 1
        return f"{self._names}{self._made}"

    def account(self, user_id: str) -> Any:
        return self.accounts.setdefault(user_id, FakeAccount(user_id))

    def want(self, *users: str) -> None:
        for user_id in users:
            self.of_users.open(user_id)
            self.channels.want(self.account(user_id))
        self.clock.advance(1)

    def leave(self, user_id: str) -> None:
        """The user's session ends here."""
        self.of_users.close(user_id)
        self.channels.leave(user_id)

    def sync(self) -> None:
        """From now on the first message comes with each opening, as it should."""

        def first(record: ChannelRecord) -> None:
            self.post(record.id)

        self.calls.on_open = first

    def advance(self, seconds: float, step: float = 1.0) -> None:
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end:
            self.clock.advance(min(step, end - self.clock.seconds()))

    def post(self, channel_id: str, number: int = 1, state: str = "sync", **others: str | None) -> bool:
        """What Google posts; others with ``_`` for ``-``, None: left out."""
        headers: dict[str, str | None] = {
            "X-Goog-Channel-ID": channel_id,
            "X-Goog-Channel-Token": SIGNER.token(channel_id),
            "X-Goog-Message-Number": str(number),
            "X-Goog-Resource-ID": f"resource of {channel_id}",
            "X-Goog-Resource-State": state,
        }
        headers |= {name.replace("_", "-"): value for name, value in others.items()}
        taken = self.notifications.take(headers.get)
        self.clock.advance(0)
        return taken

    def state(self, channel_id: str) -> State | None:
        """As the store has it."""
        row = self.store.rows.get(channel_id)
        return None if row is None else State(row.state)

    def stop(self) -> None:
        self.channels.stopService()


def started(work: Coroutine[Any, Any, Any]) -> Deferred[Any]:
    return Deferred.fromCoroutine(work)


LIMIT = NotOpened("subscriptionRateLimitExceeded", everybody=True, least=120.0)
UNKNOWN = NotOpened("outcome_unknown", perhaps=True)
TAKEN = NotOpened("channelIdNotUnique", another_id=True)
AWAY = NotStopped(hopeless=False)
DEAD = NotStopped(hopeless=True)
