"""A run of several nodes with faults, checked afterwards: what every tab sent and was sent, and when,
against what was true at Google and what Google was asked.

A :class:`Run` is the histories of all tabs (as in :mod:`tests.histories`) and a :class:`Facts`. Each
rule of :data:`RULES` is explained in ``docs/invariants.rst``. A run is kept in two files, so that it
can be looked at again::

    python -m tests.cluster_checker DIRECTORY
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tests import histories
from tests.histories import FILE_FIELDS, Complaint, Entry, History, Page, Truth

__all__ = ["RULES", "Access", "Facts", "Run", "complaints", "read", "write"]

MINUTE = 60.0
# A sign-out closes every socket of the session within this.
SIGNED_OUT_WITHIN = 1.0
# And on a node that did not reach Redis then, so long after it does again.
HEARD_AGAIN_WITHIN = 12.0
# A call that is answered by nobody for so long, on a socket that lives, is lost.
ANSWERED_WITHIN = 40.0
# One that looks at a document more often than this in a time is a looker, and not somebody who came by.
LOOKS = 3
_HISTORIES, _FACTS = "histories.jsonl", "facts.json"
_WORD = re.compile(r"[A-Za-z0-9_-]{6,}")


@dataclass(frozen=True)
class Access:
    """From a time on somebody may see a document or not; ``told_until`` is how long after a loss they may
    still be told of it."""

    at: float
    sees: bool
    told_until: float = 0.0


@dataclass
class Facts:
    """What was so, at Google and in the places between."""

    ended_at: float
    # At the end, by file: the fields that all see alike; the comments by id.
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    comments: dict[str, dict[str, Any]] = field(default_factory=dict)
    # Which words (ids, and marks that stand in names and texts) are of which file.
    words: dict[str, str] = field(default_factory=dict)
    # By file, then by user, the oldest first.
    access: dict[str, dict[str, list[Access]]] = field(default_factory=dict)
    # How often each text that a tab wrote stands at Google.
    written: dict[str, int] = field(default_factory=dict)
    # The sandbox's own log of calls, with "at" in seconds.
    calls: list[dict[str, Any]] = field(default_factory=list)
    # When access tokens were made to expire, by user.
    expired: dict[str, list[float]] = field(default_factory=dict)
    # Which node calls by which door.
    doors: dict[str, str] = field(default_factory=dict)
    # Spans in which all nodes had reached Redis for longer than a lease, and nothing but looks went on.
    settled: list[tuple[float, float]] = field(default_factory=list)
    # (node, since, until): it did not reach Redis, or stood still.
    cut_off: list[tuple[str, float, float]] = field(default_factory=list)
    lease: float = 10.0
    units_per_minute: int = 1_000_000

    def may_see(self, file_id: str, user: str, at: float) -> bool:
        """Whether a user may be told of a file at that time."""
        last = Access(0.0, False)
        for each in self.access.get(file_id, {}).get(user, []):
            if each.at <= at:
                last = each
        return last.sees or at < last.told_until


@dataclass
class Run:
    """All that a checker needs."""

    histories: list[History]
    facts: Facts

    def sockets(self) -> Iterator[tuple[History, list[Entry]]]:
        """Each socket's entries, from its opening to its close."""
        for history in self.histories:
            entries: list[Entry] = []
            for entry in history.entries:
                if entry.what == "open" and entries:
                    yield history, entries
                    entries = []
                entries.append(entry)
            if entries:
                yield history, entries


# -- what tabs were told


def _of_each(
    rule: Callable[[History, Truth], Iterator[Complaint]],
) -> Callable[[Run], Iterator[Complaint]]:
    """A rule for single histories which needs no truth, as one for a run."""

    def checking(run: Run) -> Iterator[Complaint]:
        for history in run.histories:
            yield from rule(history, Truth(run.facts.ended_at))

    checking.__name__ = rule.__name__
    checking.__doc__ = rule.__doc__
    return checking


def told_once(run: Run) -> Iterator[Complaint]:
    """No event tells a socket what it was told already. (What the page knows from another socket, another
    node may tell it again.)"""
    for history, entries in run.sockets():
        own = History(history.connection, history.user, entries)
        yield from histories.told_once(own, Truth(run.facts.ended_at))


def versions_rise(run: Run) -> Iterator[Complaint]:
    """On one socket no event is older than what the socket was told before it."""
    for history, entries in run.sockets():
        page, last = Page(), dict[str, int]()
        for entry in entries:
            page.take(entry)
            params = entry.message.get("params") or {}
            if entry.what == "event" and "version" in params:
                file_id, version = str(params.get("fileId")), int(params["version"])
                if version < last.get(file_id, 0):
                    text = f"{file_id}: {version} after {last[file_id]}"
                    yield Complaint("versions_rise", history.connection, entry.at, text)
            for file_id in page.watched():
                version = int(page.documents[file_id].version or 0)
                last[file_id] = max(version, last.get(file_id, 0))


def nothing_lost(run: Run) -> Iterator[Complaint]:
    """In the end every tab that was not closed on purpose is there, and knows what is so now."""
    facts = run.facts
    for history in run.histories:
        page, wants, over = Page(), set[str](), False
        for entry in history.entries:
            page.take(entry)
            if entry.what == "want":
                wants = set(entry.message["files"])
            over = over or entry.what == "leave"
        if over:
            continue

        def lost(text: str, connection: str = history.connection) -> Complaint:
            return Complaint("nothing_lost", connection, facts.ended_at, text)

        if not page.up:
            yield lost("it is not back")
            continue
        for file_id in sorted(wants):
            known = page.documents.get(file_id)
            if not facts.may_see(file_id, history.user, facts.ended_at):
                continue
            if known is None or not known.watched:
                yield lost(f"{file_id} is not watched")
                continue
            there = facts.files[file_id]
            for name in sorted(FILE_FIELDS - {"version"}):
                if there.get(name) != known.file.get(name):
                    text = f"{file_id}: {name} is {there.get(name)!r} and not {known.file.get(name)!r}"
                    yield lost(text)
            if known.comments is not None:
                yield from map(
                    lost,
                    histories.untrue_comments(file_id, known.comments, facts.comments.get(file_id, {})),
                )


def no_leaks(run: Run) -> Iterator[Complaint]:
    """No id of a file, and no word that stands in one, reaches a user who may not see it."""
    for history in run.histories:
        said = set[str]()
        for entry in history.entries:
            if entry.what == "call":
                # What a page says itself it may hear again, as in "not found: ...".
                said |= set(_WORD.findall(json.dumps(entry.message)))
            if entry.what not in ("event", "answer"):
                continue
            for word in set(_WORD.findall(json.dumps(entry.message))):
                file_id = run.facts.words.get(word)
                if file_id is None or run.facts.may_see(file_id, history.user, entry.at):
                    continue
                inner = entry.message.get("params") or entry.message.get("result") or {}
                if word == file_id and word in said and not {"file", "data"} & set(inner):
                    continue  # its own word: what it is refused, or has lost, is named
                text = f"{history.user} was shown {word}, of {file_id}"
                yield Complaint("no_leaks", history.connection, entry.at, text)


# -- calls and answers


def one_answer(run: Run) -> Iterator[Complaint]:
    """Each call has one answer, on the socket that it came by; and nothing else is answered."""
    for history, entries in run.sockets():
        asked: dict[Any, Entry] = {}
        answered = set[Any]()

        def wrong(at: float, text: str, connection: str = history.connection) -> Complaint:
            return Complaint("one_answer", connection, at, text)

        for entry in entries:
            call_id = entry.message.get("id")
            if entry.what == "call":
                asked[call_id] = entry
                answered.discard(call_id)
            elif entry.what == "answer":
                if call_id in answered:
                    yield wrong(entry.at, f"{call_id} was answered twice")
                elif call_id not in asked:
                    yield wrong(entry.at, f"{call_id} was not asked here")
                if ("result" in entry.message) == ("error" in entry.message):
                    yield wrong(entry.at, f"{call_id} has not one of result and error")
                answered.add(call_id)
        end = entries[-1]
        for call_id, entry in asked.items():
            until = end.at if end.what == "close" else run.facts.ended_at
            if call_id not in answered and until - entry.at > ANSWERED_WITHIN:
                yield wrong(entry.at, f"{entry.message['method']} was not answered")


def writes_once(run: Run) -> Iterator[Complaint]:
    """What a tab wrote is at Google once where it was told so, and never twice."""
    for history in run.histories:
        texts: dict[Any, str] = {}
        done: dict[str, float] = {}
        for entry in history.entries:
            if entry.what == "call" and (text := _text_of(entry.message)):
                texts[entry.message["id"]] = text
                done.setdefault(text, 0.0)
            elif entry.what == "answer" and "result" in entry.message:
                text = texts.get(entry.message["id"], "")
                if text:
                    done[text] = entry.at
        for text, at in done.items():
            times = run.facts.written.get(text, 0)
            if times > 1 or (at and not times):
                said = f"{text!r} is at Google {times} times" + (", and was answered" if at else "")
                yield Complaint("writes_once", history.connection, at or run.facts.ended_at, said)


def _text_of(message: Mapping[str, Any]) -> str:
    """What a write makes at Google, where that can be counted afterwards."""
    if message.get("method") not in ("drive.comments.create", "drive.replies.create", "drive.files.create"):
        return ""
    body = (message.get("params") or {}).get("requestBody") or {}
    return str(body.get("content") or body.get("name") or "")


def signed_out_everywhere(run: Run) -> Iterator[Complaint]:
    """A second after a sign-out was answered no socket of that session is open or is let in, on any node."""
    facts = run.facts
    for asked, entries in run.sockets():
        session = entries[0].message.get("session")
        outs = {
            e.message["id"]: e.message
            for e in entries
            if e.what == "call" and e.message["method"] == "session.sign_out"
        }
        for answer in entries:
            if (
                answer.what != "answer"
                or answer.message.get("id") not in outs
                or "result" not in answer.message
            ):
                continue
            everywhere = (outs[answer.message["id"]].get("params") or {}).get("everywhere")
            for history, others in run.sockets():
                first = others[0]
                of_it = first.message.get("session") == session
                if not of_it and not (everywhere and history.user == asked.user and first.at <= answer.at):
                    continue
                yield from _outlives(history, others, answer.at, facts)


def _outlives(history: History, entries: list[Entry], out: float, facts: Facts) -> Iterator[Complaint]:
    first = entries[0]
    limit = out + SIGNED_OUT_WITHIN
    for node, since, until in facts.cut_off:
        if node == first.message.get("node") and since - 1 <= out <= until:
            limit = max(limit, until + HEARD_AGAIN_WITHIN)

    def outlives(at: float, text: str) -> Complaint:
        return Complaint("signed_out_everywhere", history.connection, at, text)

    if first.at > out:
        let_in = [
            e
            for e in entries
            if e.what == "answer" and (e.message.get("result") or {}).get("user") and e.at > limit
        ]
        if let_in:
            yield outlives(let_in[0].at, f"was let in {let_in[0].at - out:.1f} s after the sign-out")
        return
    close = next((e for e in entries if e.what == "close"), None)
    if close is not None and close.at <= out:
        return
    end = facts.ended_at if close is None else close.at
    if end > limit:
        yield outlives(end, f"was open {end - out:.1f} s after the sign-out")
    for entry in entries:
        told = entry.what == "event" and entry.message.get("method") != "session.signed_out"
        if (told or entry.what == "answer") and entry.at > limit:
            yield outlives(entry.at, f"was told something {entry.at - out:.1f} s after the sign-out")


# -- what Google was asked


def one_refresh(run: Run) -> Iterator[Complaint]:
    """A grant is refreshed at most once for each time that its access token expired."""
    users: dict[str, list[float]] = {}
    for call in run.facts.calls:
        if call["method"] == "oauth2.token.refresh" and call["status"] == 200:
            users.setdefault(str(call["user"]), []).append(call["at"])
    for user, times in users.items():
        expired = run.facts.expired.get(user, [])
        if len(times) > len(expired):
            text = f"{user}: {len(times)} refreshes, and the token expired {len(expired)} times"
            yield Complaint("one_refresh", user, times[-1], text)


def within_quota(run: Run) -> Iterator[Complaint]:
    """In no minute all nodes together ask more of Google than the quota's ceiling."""
    window: list[tuple[float, int]] = []
    spent, worst, at = 0, 0, 0.0
    for call in sorted(run.facts.calls, key=lambda call: call["at"]):
        window.append((call["at"], call["units"]))
        spent += call["units"]
        while window[0][0] <= call["at"] - MINUTE:
            spent -= window.pop(0)[1]
        if spent > worst:
            worst, at = spent, call["at"]
    if worst > run.facts.units_per_minute:
        text = f"{worst} units in a minute, of {run.facts.units_per_minute}"
        yield Complaint("within_quota", "all", at, text)


def one_looker(run: Run) -> Iterator[Complaint]:
    """Where all nodes reach Redis, no two look at one document for longer than a lease."""
    facts = run.facts
    for since, until in facts.settled:
        looks: dict[str, dict[str, list[float]]] = {}
        for call in facts.calls:
            if call["method"] == "drive.files.get" and since <= call["at"] <= until and call["file"]:
                node = facts.doors.get(call["door"], call["door"])
                looks.setdefault(call["file"], {}).setdefault(node, []).append(call["at"])
        for file_id, by_node in looks.items():
            spans = {node: (min(times), max(times)) for node, times in by_node.items() if len(times) >= LOOKS}
            nodes = sorted(spans)
            for place, one in enumerate(nodes):
                for other in nodes[place + 1 :]:
                    begin = max(spans[one][0], spans[other][0])
                    end = min(spans[one][1], spans[other][1])
                    if end - begin > facts.lease:
                        text = f"{one} and {other} both looked at {file_id} for {end - begin:.0f} s"
                        yield Complaint("one_looker", file_id, begin, text)


Rule = Callable[[Run], Iterator[Complaint]]
RULES: tuple[Rule, ...] = (
    _of_each(histories.well_formed),
    _of_each(histories.own_eyes),
    told_once,
    _of_each(histories.told_to_watchers),
    versions_rise,
    nothing_lost,
    no_leaks,
    one_answer,
    writes_once,
    signed_out_everywhere,
    one_refresh,
    within_quota,
    one_looker,
)


def complaints(run: Run) -> list[Complaint]:
    """All that is wrong, in the order of time."""
    found = [complaint for rule in RULES for complaint in rule(run)]
    return sorted(found, key=lambda complaint: complaint.at)


# -- files


def write(run: Run, directory: Path) -> None:
    """Keep it: one line for each thing that happened on a connection, and one file of facts."""
    with (directory / _HISTORIES).open("w", encoding="utf-8") as file:
        for history in run.histories:
            for entry in history.entries:
                line = {
                    "at": entry.at,
                    "connection": history.connection,
                    "user": history.user,
                    "what": entry.what,
                    "message": entry.message,
                }
                file.write(json.dumps(line) + "\n")
    (directory / _FACTS).write_text(json.dumps(dataclasses.asdict(run.facts)), encoding="utf-8")


def read(directory: Path) -> Run:
    """What :func:`write` kept."""
    known: dict[str, History] = {}
    with (directory / _HISTORIES).open(encoding="utf-8") as file:
        for text in file:
            line = json.loads(text)
            name = line["connection"]
            history = known.setdefault(name, History(name, line["user"]))
            history.add(line["at"], line["what"], line["message"])
    facts = Facts(**json.loads((directory / _FACTS).read_text(encoding="utf-8")))
    facts.access = {
        file_id: {user: [Access(**each) for each in spans] for user, spans in users.items()}
        for file_id, users in facts.access.items()
    }
    return Run(list(known.values()), facts)


def with_times(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The sandbox's log with its times in seconds."""
    return [{**call, "at": datetime.fromisoformat(call["time"]).timestamp()} for call in calls]


if __name__ == "__main__":
    wrong = complaints(read(Path(sys.argv[1])))
    for each in wrong:
        sys.stdout.write(f"{each}\n")
    sys.exit(bool(wrong))
