"""The same day with docsession: the real assembly, with connections in memory that record."""

from __future__ import annotations

import json
import random
from typing import Any

from benchmarks.google_cost.google import Changes, Staleness, email, file_id, passed, seed, spent
from benchmarks.google_cost.shape import SLOW, Day
from docsession.assembly import new_id
from docsession.model import Grant, Identity, SessionRecord, User
from docsession.sandbox.grants import Code
from tests.support import START, FakeWire, Stack, Tab

__all__ = ["PUSH", "Ours", "arrive"]

PUSH = '[push]\nurl = "http://127.0.0.1:8765"\n'
WARM_UP = 120.0
STEP = 0.5


class _Wire(FakeWire):
    """Keeps answers, and of messages only what they say: which version of which document, when."""

    def __init__(self, ours: Ours, visible: bool) -> None:
        super().__init__()
        self._ours = ours
        self._visible = visible
        self.versions: dict[str, str] = {}
        self.doubled = 0

    def send(self, payload: bytes) -> None:
        message = json.loads(payload)
        if "method" not in message:
            self.sent.append(message)
        elif message["method"] == "document.changed":
            changed = message["params"]
            self.doubled += self.versions.get(changed["fileId"]) == changed["version"]
            self.versions[changed["fileId"]] = changed["version"]
            self._ours.told(changed["fileId"], self._visible)


class Ours:
    """A day with docsession. ``toml`` is its configuration, ``quota`` what the sandbox holds it to."""

    def __init__(
        self, day: Day, rng: random.Random, toml: str = "", *, quota: dict[str, Any] | None = None
    ) -> None:
        self.day = day
        self.stack = Stack(toml, world=seed(day), rng=rng, direct=True)
        if quota is not None:
            self.stack.control("PUT", "/sandbox/quota", quota)
        self.changes = Changes(self.stack.sandbox, self.stack.clock, day)
        self.staleness = Staleness()
        self._document_of = {file_id(document): document for document in range(day.shape.documents)}
        self.wires: list[_Wire] = []
        self.identities = [arrive(self.stack, user) for user in range(day.shape.users)]
        for plan in day.tabs:
            tab = Tab(self.stack, self.identities[plan.user], wire=(wire := _Wire(self, plan.visible)))
            self.wires.append(wire)
            tab.open(visible=plan.visible)
            for document in day.watches[plan.user]:
                answer = self._watch(tab, file_id(document))
                wire.versions[answer["fileId"]] = answer["version"]
            wire.sent.clear()

    def _watch(self, tab: Tab, document: str) -> dict[str, Any]:
        while True:
            asked = tab.start("documents.watch", fileId=document, comments=True)
            while (answer := tab.answer(asked)) is None:
                self.advance(STEP)
            if "result" in answer:
                return answer["result"]  # type: ignore[no-any-return]
            # A small quota: as a page does, it waits for as long as it is told.
            self.advance(answer["error"]["data"]["retry_after"] + STEP)

    def told(self, changed: str, visible: bool) -> None:
        document = self._document_of[changed]
        if document in self.changes.last:
            self.staleness.add(visible, self.stack.clock.seconds() - self.changes.last[document])

    def run(self, seconds: float) -> dict[str, Any]:
        """So long, after a warm-up."""
        self.warm_up()
        return self.measure(seconds)

    def warm_up(self) -> None:
        """Until no first look is left, and every user has a push channel who is to have one."""
        self.advance(WARM_UP)
        if self.stack.config.push.url is not None:
            while len(self.stack.assembly.channels) < self.day.shape.users:
                self.advance(STEP)

    def measure(self, seconds: float) -> dict[str, Any]:
        """What is spent in so many seconds, scaled to an hour. ``opening`` is what was spent before,
        as it is."""
        opened, began = spent(self.stack.sandbox), self.stack.clock.seconds()
        self.staleness.clear()
        self.advance(seconds)
        return passed(opened, spent(self.stack.sandbox), seconds) | {
            "window": seconds,
            "staleness": self.staleness.to_json(),
            "opening": passed({}, opened) | {"seconds": round(began - START)},
            "doubled": sum(wire.doubled for wire in self.wires),
            "untold": self.untold(),
        }

    def untold(self) -> int:
        """How many tabs do not know the present state of a document, though it is not new."""
        files = self.stack.sandbox.world.files
        old = map(file_id, self.changes.before(self.stack.clock.seconds() - 2 * SLOW))
        versions = {document: str(files[document].version) for document in old}
        return sum(
            versions.get(document, told) != told
            for wire in self.wires
            for document, told in wire.versions.items()
        )

    def advance(self, seconds: float, step: float = STEP) -> None:
        for _ in range(max(1, round(seconds / step))):
            self.changes.until(self.stack.clock.seconds() + step)
            self.stack.flush()

    def close(self) -> None:
        self.stack.close()


def arrive(stack: Stack, user: int) -> Identity:
    """A browser of this user, and what a sign-in leaves in the store; that costs no quota."""
    person, google = stack.sandbox.world.people[email(user)], stack.config.google
    code = Code(
        email=person.email,
        client_id=google.client_id,
        redirect_uri=stack.config.server.callback_url,
        scopes=frozenset(google.scopes),
    )
    grants = stack.sandbox.grants
    taken = grants.take_code(grants.allow(code, offline=True, anew=True))
    assert taken is not None
    issued, now = grants.redeem(taken), stack.clock.seconds()
    known = User(person.sub, person.email, person.display_name, person.picture, google.scopes)
    grant = Grant(1, google.scopes, issued.access_token, now + issued.expires_in, issued.refresh_token)
    identity = Identity(new_id(), now)
    stack.await_(stack.store.save_user(known))
    assert stack.await_(stack.store.save_grant(known.id, grant, replaces=None))
    stack.await_(stack.store.save_session(SessionRecord(identity.session_id, now, now, known.id)))
    return identity
