"""What is to be reached, beside what was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.sockets.figures import FLOOR, Turns, rounded

__all__ = ["OURS", "Goal", "goals"]

OURS = "docsession"
ONE, EIGHT = "fan-out 1000, 1 in flight", "fan-out 1000, 8 in flight"
ASKED, ASKED_MUCH = "requests 50 x 1", "requests 50 x 10"


@dataclass(frozen=True)
class Goal:
    """One line. ``reached`` is None where it was not measured."""

    what: str
    to_reach: str
    found: str = "not measured"
    reached: bool | None = None

    @property
    def verdict(self) -> str:
        return "--" if self.reached is None else "reached" if self.reached else "MISSED"


def goals(turns: Turns, facts: Mapping[str, Any]) -> list[Goal]:
    """All of them, measured or not. Ratios are medians of the rounds' own."""
    return [
        *(_cheaper(turns, ONE, peer, least) for peer, least in _ONE_IN_FLIGHT.items()),
        _cheaper(turns, EIGHT, FLOOR, 5.0),
        _cheaper(turns, EIGHT, "uwebsockets", 0.9, said="level with uwebsockets (0.9 x or more)"),
        _sooner(turns),
        _cheaper(turns, ASKED, "websockets+uvloop (echo)", 1.5),
        _cheaper(turns, ASKED_MUCH, "websockets+uvloop (echo)", 3.0),
        _cheaper(turns, ASKED, "autobahn (echo)", 2.0),
        _cheaper(turns, ASKED_MUCH, "autobahn (echo)", 2.0),
        _cheaper(turns, "handshakes", "autobahn", 1.5),
        *_standing(facts.get("standing")),
        *_herd(facts.get("herd")),
        *_slow(facts.get("slow")),
        _growth(turns),
        *_soak(facts.get("soak")),
    ]


_ONE_IN_FLIGHT = {FLOOR: 0.8, "websockets": 1.3, "nchan": 1.2, "autobahn": 4.0, "channels": 30.0}


def _cheaper(turns: Turns, measure: str, than: str, least: float, said: str = "") -> Goal:
    what, to_reach = f"{measure}: CPU each", said or f">= {least:g} x {than}"
    if not turns.has(measure, OURS) or (ratio := turns.times_faster(measure, OURS, than)) is None:
        return Goal(what, to_reach)
    own, other = turns.us(measure, OURS).median, turns.us(measure, than).median
    found = f"{rounded(ratio.median)} x ({rounded(own)} us, theirs {rounded(other)})"
    return Goal(what, to_reach, found, ratio.median >= least)


def _sooner(turns: Turns) -> Goal:
    what, to_reach = "last of 1,000 receivers, p50", "<= 0.9 x websockets'"
    if not turns.has(ONE, OURS) or (ratio := turns.times_longer(ONE, OURS, "websockets", "p50")) is None:
        return Goal(what, to_reach)
    own, other = turns.time(ONE, OURS, "p50").median, turns.time(ONE, "websockets", "p50").median
    found = f"{rounded(ratio.median)} x ({rounded(own)} ms, theirs {rounded(other)})"
    return Goal(what, to_reach, found, ratio.median <= 0.9)


def _growth(turns: Turns) -> Goal:
    what, to_reach = "growth of cost per delivery, 100 -> 5,000 tabs", "<= 1.2 x the floor's own"
    few, many = "fan-out 100, 1 in flight", "fan-out 5000, 1 in flight"
    if not all(turns.has(measure, name) for measure in (few, many) for name in (OURS, FLOOR)):
        return Goal(what, to_reach)
    own = turns.us(many, OURS).median / turns.us(few, OURS).median
    floor = turns.us(many, FLOOR).median / turns.us(few, FLOOR).median
    found = f"{own / floor:.2f} x (x {own:.2f}, the floor x {floor:.2f})"
    return Goal(what, to_reach, found, own <= 1.2 * floor)


def _standing(facts: Mapping[str, Any] | None) -> list[Goal]:
    if facts is None:
        return [
            Goal("memory of an idle signed-in tab that watches five", "<= 4 KiB"),
            Goal("... and of a user", "<= 12 KiB"),
            Goal("idle CPU, 10,000 tabs, a ping every 30 s", "<= 2 % of a core"),
        ]
    tabs = f"{facts['tabs']:,} tabs"
    tab = f"{facts['tab_kib']:.1f} KiB ({facts['tab_bare_kib']:.1f} watching nothing; {tabs})"
    user = (
        f"{facts['user_kib']:.1f} KiB ({facts['users']:,} users;"
        f" of each of {facts['documents']} documents {facts['document_kib']:.1f})"
    )
    idle = f"{facts['idle_cpu']:.1%} ({tabs}, {facts['pings']:.2f} pings a tab each 30 s)"
    pinged = facts["pings"] > 0.9
    return [
        Goal(
            "memory of an idle signed-in tab that watches five", "<= 4 KiB", tab, bool(facts["tab_kib"] <= 4)
        ),
        Goal("... and of a user", "<= 12 KiB", user, bool(facts["user_kib"] <= 12)),
        Goal(
            f"idle CPU, {tabs}, a ping every 30 s",
            "<= 2 % of a core",
            idle,
            bool(facts["idle_cpu"] <= 0.02 and pinged),
        ),
    ]


def _herd(facts: Mapping[str, Any] | None) -> list[Goal]:
    if facts is None:
        return [
            Goal("10,000 tabs back after a restart, five watches each", "<= 30 s"),
            Goal("... Google calls in that minute", "<= 1.1 x an ordinary minute's"),
            Goal("... p99 of others' requests meanwhile", "<= 100 ms"),
        ]
    all_back = facts["back"] == facts["tabs"] and not facts["wrong"]
    after = (
        f"{facts['back']:,.0f} after {facts['all_back_after']:.1f} s"
        f" (listening again after {facts['listening_after']:.1f} s)"
    )
    ratio = facts["google_calls"] / max(1.0, facts["google_calls_ordinary"])
    calls = f"{ratio:.2f} x ({facts['google_calls']:.0f}, ordinarily {facts['google_calls_ordinary']:.0f})"
    asked = f"{facts['probe_p99']:.1f} ms (p50 {facts['probe_p50']:.1f}, of {facts['probes']:.0f})"
    return [
        Goal(
            f"{facts['tabs']:,} tabs back after a restart, five watches each",
            "<= 30 s",
            after,
            bool(all_back and facts["all_back_after"] <= 30),
        ),
        Goal("... Google calls in that minute", "<= 1.1 x an ordinary minute's", calls, ratio <= 1.1),
        Goal("... p99 of others' requests meanwhile", "<= 100 ms", asked, bool(facts["probe_p99"] <= 100)),
    ]


def _slow(facts: Mapping[str, Any] | None) -> list[Goal]:
    what = "one stopped reader among 1,000: memory of its queue"
    if facts is None:
        return [Goal(what, "<= its bound"), Goal("... last-receiver p99 of the rest", "<= 1.1 x without it")]
    found = (
        f"{facts['queue_bytes'] / 1024:.0f} KiB, and {facts['transport_bytes'] / 1024:.0f} in its transport"
        f" (bound {facts['bound'] / 1024:.0f}; of {facts['events']:,.0f} events it read"
        f" {facts['read_later']:,.0f} in the end)"
    )
    held_back = facts["read_later"] < facts["events"]
    ratio = facts["p99_ratio"]
    rest = f"{ratio:.2f} x ({facts['p99_with']:.1f} ms, without {facts['p99_without']:.1f})"
    return [
        Goal(what, "<= its bound", found, bool(facts["queue_bytes"] <= facts["bound"] and held_back)),
        Goal("... last-receiver p99 of the rest", "<= 1.1 x without it", rest, bool(ratio <= 1.1)),
    ]


# Between the middle third of a soak and its last: what differs when nothing grows.
_LEVEL = {"rss": 2 * 2**20, "fds": 3, "delayed": 10}


def _soak(facts: Mapping[str, Any] | None) -> list[Goal]:
    to_reach = "memory, descriptors, timed calls flat"
    if facts is None:
        return [Goal("a soak of ten minutes", to_reach)]
    grown = facts["grown"]
    found = (
        f"{grown['rss'] / 1024:+.0f} KiB, {grown['fds']:+.0f}, {grown['delayed']:+.0f}"
        f" (last third over the middle; {facts['delivered']:,.0f} events, {facts['answered']:,.0f} requests,"
        f" {facts['opened']:,.0f} handshakes)"
    )
    flat = all(grown[name] <= most for name, most in _LEVEL.items())
    return [Goal(f"a soak of {facts['minutes']:g} minutes", to_reach, found, flat)]
