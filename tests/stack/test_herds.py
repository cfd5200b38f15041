"""All tabs come back after a restart: they are answered from what is stored, and Google hardly notices."""

from __future__ import annotations

import random
from typing import Any

import pytest

from docsession.model import Identity
from tests.support import Stack, Tab

USERS, TABS, DOCUMENTS, WATCHES = 40, 5, 25, 5
BACK_WITHIN = 5.0
PUSH = '[push]\nurl = "http://127.0.0.1:8765"'


def email(number: int) -> str:
    return f"person{number:03}@example.com"


def file_id(number: int) -> str:
    return f"1document{number:05}xxxxxxxxxxxxxxxxxxx"


def world() -> dict[str, Any]:
    """Everybody may write everything."""
    people = [email(number) for number in range(USERS)]
    return {
        "people": [{"email": person, "name": person.partition("@")[0]} for person in people],
        "files": [
            {
                "name": f"Document {number}",
                "id": file_id(number),
                "owner": people[number],
                "shared": {person: "writer" for person in people if person != people[number]},
            }
            for number in range(DOCUMENTS)
        ],
    }


class Page:
    """A page that watches five documents with their comments, whatever becomes of its sockets."""

    def __init__(self, stack: Stack, identity: Identity, watches: list[int], *, visible: bool) -> None:
        self._stack, self._identity, self._visible = stack, identity, visible
        self.versions: dict[str, str | None] = {file_id(number): None for number in watches}
        self._name: str | None = None
        self.connect()

    def connect(self) -> None:
        self.tab = Tab(self._stack, self._identity)
        self._name = self.tab.open(name=self._name, visible=self._visible)["connection"]
        self._asked = [
            self.tab.start(
                "documents.watch",
                fileId=document,
                comments=True,
                **({} if version is None else {"version": version}),
            )
            for document, version in self.versions.items()
        ]

    def answered(self) -> bool:
        """Whether it was told all that it asked for; from then on it knows the versions."""
        answers = [self.tab.answer(asked) for asked in self._asked]
        if not all(answer is not None and "result" in answer for answer in answers):
            return False
        self.versions = {
            answer["result"]["fileId"]: answer["result"]["version"] for answer in answers if answer
        }
        return True


def asked(stack: Stack) -> int:
    """How often Google was asked anything so far, tokens and channels included."""
    return sum(sums["calls"] for sums in stack.sandbox.calls.to_json()["by_method"].values())


@pytest.mark.parametrize(("toml", "killed"), [("", True), (PUSH, False)], ids=["killed", "push"])
def test_google_is_asked_no_more_than_in_an_ordinary_minute(toml: str, killed: bool) -> None:
    rng = random.Random(7)
    with Stack(toml, world=world(), direct=True) as stack:
        pages = []
        for number in range(USERS):
            identity = stack.sign_in(email(number))
            for tab in range(TABS):
                watches = rng.sample(range(DOCUMENTS), WATCHES)
                pages.append(Page(stack, identity, watches, visible=tab > 0))
        assert all(page.answered() for page in pages)
        stack.advance(60, 1)
        before = asked(stack)
        stack.advance(180, 1)
        ordinary = (asked(stack) - before) / 3

        if killed:
            stack.await_(stack.store.close())
            stack.stop_timers()
        else:
            stack.stop_server()
        stack.clock.advance(2)
        before = asked(stack)
        stack.start_server()
        began = stack.clock.seconds()
        rng.shuffle(pages)
        times = sorted(rng.uniform(0, BACK_WITHIN) for _ in pages)
        for page, when in zip(pages, times, strict=True):
            stack.advance(max(0.0, began + when - stack.clock.seconds()))
            page.connect()
        assert all(page.answered() for page in pages)
        stack.advance(began + 60 - stack.clock.seconds(), 1)
        assert asked(stack) - before <= 1.1 * ordinary
