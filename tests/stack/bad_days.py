"""What the tests of bad days share: three people over one document, and a day that ends well.

However bad the day, at its end everybody was told what is true, once, and nothing is lost:
:func:`tests.histories.complaints` says so of every connection.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.stack.playing import ANN, BOB, CAT, Play, PlayedTab

__all__ = ["ANN", "BOB", "CAT", "NOTES", "TALK", "Day", "day"]

# Enough for the longest wait between two tries.
SETTLE = 180.0

# Ann's, which Bob may write and Cat may read; and one that only Ann may see.
TALK, NOTES = "Talk for the shops", "Notes to myself"


class Day:
    """Ann has two tabs, Bob and Cat one each; all watch the talk."""

    def __init__(self, toml: str = "") -> None:
        self.play = Play((TALK, NOTES), toml)
        self.stack = self.play.stack
        self.talk = self.play.documents[TALK]
        self.ann, self.ann2, self.bob, self.cat = (self.play.tab(each) for each in (ANN, ANN, BOB, CAT))
        self.tabs = self.play.tabs
        for tab in self.tabs:
            tab.wants[self.talk] = False
            tab.ask()
        self.advance(11)  # the first looks are behind us
        self.reset()

    def advance(self, seconds: float, step: float = 0.5) -> None:
        self.play.advance(seconds, step)

    # -- what Google does

    def faults(self, *faults: dict[str, Any]) -> None:
        """From now on these and no others; ``user``, ``method`` and ``file`` say whom they meet."""
        ordered = []
        for fault in faults:
            match = {name: fault[name] for name in ("user", "method", "file") if name in fault}
            ordered.append({"match": match, **{k: v for k, v in fault.items() if k not in match}})
        self.stack.faults(*ordered)

    def rename(self, name: str, by: str = ANN, document: str = TALK) -> None:
        """Somebody renames it at Google; that is none of our calls."""
        file = self.play.file(document)
        assert file is not None
        file.name = name
        self.play.world.touch(file, self.play.person(by), modified=self.play.world.now())

    def reset(self) -> None:
        """Count the calls from here on."""
        self.stack.sandbox.calls.reset()

    def asked(self, method: str | None = None, *, by: str | None = None) -> int:
        """How many calls came to Google since: of a method, or in somebody's name."""
        counted = self.stack.sandbox.calls.to_json()
        if by is not None:
            return int(counted["by_user"].get(by, {"calls": 0})["calls"])
        if method is not None:
            return int(counted["by_method"].get(method, {"calls": 0})["calls"])
        return int(counted["total"]["calls"])

    # -- what tabs were told

    def names(self, tab: PlayedTab) -> list[str]:
        """The names of the talk that it was told, one after the other."""
        return [str(params["file"]["name"]) for params in tab.events("document.changed")]

    def degraded(self, tab: PlayedTab) -> list[str]:
        """What it was told of the state of things: reasons, and ``recovered``."""
        said = []
        for entry in tab.history.entries:
            if entry.message.get("method") == "session.degraded":
                said.append(str(entry.message["params"]["reason"]))
                assert entry.message["params"]["retry_after"] > 0, entry
            elif entry.message.get("method") == "session.recovered":
                said.append("recovered")
        return said

    def lost(self) -> list[str]:
        """Who was told of a loss."""
        return [tab.history.connection for tab in self.tabs if tab.events("document.lost")]

    # -- what tabs do

    def write(self, tab: PlayedTab, name: str) -> str:
        """Rename the talk through the server; returns the id of the call."""
        call = tab.call("drive.files.update", fileId=self.talk, requestBody={"name": name})
        assert call is not None
        return call

    def read(self, tab: PlayedTab, file_id: str | None = None) -> str:
        """Ask Google for the talk, whatever is cached."""
        call = tab.call("drive.files.get", fileId=file_id or self.talk, maxAge=0)
        assert call is not None
        return call

    def read_is_answered(self, tab: PlayedTab, within: float) -> dict[str, Any]:
        """A person's read is answered in that time; returns the answer."""
        call = self.read(tab)
        self.advance(within)
        answer = tab.answer(call)
        assert answer is not None, "no answer"
        return answer


@contextmanager
def day(toml: str = "") -> Iterator[Day]:
    """A day, at the end of which nobody has anything to complain of."""
    that = Day(toml)
    try:
        yield that
        found = that.play.end(SETTLE)
        assert not found, "\n".join(map(str, found))
    finally:
        that.play.close()
