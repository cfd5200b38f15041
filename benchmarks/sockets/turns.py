"""Turns: all servers stay there, and each measures a fraction of a second at a time, in random order."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from benchmarks.sockets.figures import Turn
from benchmarks.sockets.generator import Answer, GeneratorFailed
from benchmarks.sockets.ours import Ours
from benchmarks.sockets.peers import Peer, Running
from benchmarks.sockets.subjects import (
    FLIGHT_DOCUMENTS,
    NatsSubject,
    OurSubject,
    PeerSubject,
    Subject,
    directory_of,
    event_like_ours,
    users_for,
)

__all__ = ["FANOUT", "REQUESTS", "fanouts", "handshakes", "requests", "together"]

FANOUT = (100, 1000, 5000)
FLIGHTS = (1, 8)
REQUESTS = ((1, 1), (50, 1), (50, 10))
SECONDS = 0.3

Do = Callable[[], tuple[float, Answer]]


@contextlib.contextmanager
def together(
    directory: Path, peers: Iterable[Peer], *, ours: bool = True, users: int = users_for(max(FANOUT))
) -> Iterator[list[Subject]]:
    """All of them running, with a generator each."""
    # For each size of fan-out documents of its own, and one more to ask for.
    documents = FLIGHT_DOCUMENTS * len(FANOUT) + 1
    with contextlib.ExitStack() as stack:
        subjects: list[Subject] = []
        if ours:
            watched = [range(documents)] * users
            daemon = Ours(directory_of(directory, "ours"), users=watched, documents=documents)
            subjects.append(OurSubject(stack.enter_context(daemon)))
        event = event_like_ours()
        for peer in peers:
            running = stack.enter_context(Running(peer, directory))
            subject = NatsSubject if peer.speaks == "nats" else PeerSubject
            subjects.append(subject(running, event=event))
        for subject in subjects:
            stack.enter_context(subject)
        yield subjects
        for subject in subjects:
            if isinstance(subject, OurSubject):
                subject.ours.assert_quiet()


def fanouts(
    subjects: Sequence[Subject],
    *,
    rounds: int,
    sizes: Sequence[int] = FANOUT,
    notes: list[str],
    rng: random.Random,
    what: str = "fan-out",
) -> list[Turn]:
    """One event to so many tabs, one and eight in flight."""
    turns: list[Turn] = []
    for tabs in sizes:
        there = [each for each in subjects if tabs <= _most(each)]
        there = _prepared(there, lambda each, tabs=tabs: each.prepare_fanout(tabs), f"{tabs} tabs", notes)  # type: ignore[misc]
        for flight in FLIGHTS:
            doing = {
                each.name: (
                    lambda each=each, flight=flight, tabs=tabs: each.fanout(  # type: ignore[misc]
                        tabs, flight=flight, seconds=SECONDS
                    )
                )
                for each in there
                if flight in _flights(each)
            }
            name = f"{what} {tabs}, {flight} in flight"
            turns += _take_turns(name, doing, rounds, "delivered", rng, notes)
        for each in there:
            each.done_fanout(tabs)
    return turns


def requests(subjects: Sequence[Subject], *, rounds: int, notes: list[str], rng: random.Random) -> list[Turn]:
    """Small requests, answered from what is there."""
    turns: list[Turn] = []
    there = [each for each in subjects if each.answers]
    there = _prepared(there, lambda each: each.prepare_requests(), "requests", notes)
    for connections, flight in REQUESTS:
        doing = {
            name: (
                lambda each=each, group=group, connections=connections, flight=flight: each.requests(  # type: ignore[misc]
                    connections, flight=flight, seconds=SECONDS, group=group
                )
            )
            for each in there
            for name, group in each.askings().items()
        }
        turns += _take_turns(f"requests {connections} x {flight}", doing, rounds, "done", rng, notes)
    return turns


def handshakes(
    subjects: Sequence[Subject], *, rounds: int, notes: list[str], rng: random.Random
) -> list[Turn]:
    """Bare ones, but for the daemon's: cookie, Origin and session.open."""
    there = _prepared(subjects, lambda each: each.prepare_handshakes(), "handshakes", notes)
    doing = {each.name: (lambda each=each: each.handshakes(seconds=SECONDS)) for each in there}  # type: ignore[misc]
    return _take_turns("handshakes", doing, rounds, "opened", rng, notes)


def _prepared(
    subjects: Sequence[Subject], prepare: Callable[[Subject], None], what: str, notes: list[str]
) -> list[Subject]:
    found = []
    for each in subjects:
        _say(f"{what}: {each.name} is made ready")
        try:
            prepare(each)
        except GeneratorFailed as error:
            if isinstance(each, OurSubject):
                raise
            notes.append(f"{each.name} is left out of {what}: {error}"[:400])
        else:
            found.append(each)
    return found


def _take_turns(
    measure: str, doing: dict[str, Do], rounds: int, unit: str, rng: random.Random, notes: list[str]
) -> list[Turn]:
    turns: list[Turn] = []
    for number in range(rounds):
        names = list(doing)
        rng.shuffle(names)
        for name in names:
            try:
                used, answer = doing[name]()
            except GeneratorFailed as error:
                if name.startswith("docsession"):
                    raise
                notes.append(f"{name} is left out of {measure} from then on: {error}"[:400])
                del doing[name]
                continue
            units = float(answer[unit])
            times = {which: float(answer[which]) for which in ("p50", "p99", "worst")}
            rate = units / float(answer["seconds"])
            turns.append(Turn(measure, name, number, used * 1e6 / units, rate, times))
    _say(f"{measure}: {rounds} rounds of {len(doing)}")
    return turns


def _most(subject: Subject) -> int:
    return subject.server.peer.most if isinstance(subject.server, Running) else 1_000_000


def _flights(subject: Subject) -> Sequence[int]:
    return subject.server.peer.flights if isinstance(subject.server, Running) else FLIGHTS


def _say(what: str) -> None:
    sys.stderr.write(f"# {what}\n")
