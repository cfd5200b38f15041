"""What must hold beside the price: growth with watchers and tabs, overload, and nothing lost."""

from __future__ import annotations

from typing import Any

from benchmarks.google_cost.google import email, file_id, rng_of, seed, spent
from benchmarks.google_cost.ours import Ours
from benchmarks.google_cost.shape import Day, Shape
from tests.support import Stack, Tab

__all__ = ["growth_with_tabs", "growth_with_watchers", "nothing_lost", "overload"]

_MANY = "[limits]\nconnections_per_session = 200\nconnections_per_user = 200\n"


def _looks(stack: Stack) -> dict[str, float]:
    """Looks at files and comments so far, by why."""
    counted: dict[str, float] = {}
    for family in stack.assembly.metrics.registry.collect():
        if family.name == "docsession_looks":
            for sample in family.samples:
                if sample.name.endswith("_total"):
                    why = sample.labels["why"]
                    counted[why] = counted.get(why, 0) + sample.value
    return counted


def _hour(ours: Ours, seconds: float) -> dict[str, float]:
    """Calls an hour, and those of them that are proofs."""
    proofs = _looks(ours.stack).get("proof", 0)
    calls = ours.run(seconds, warm_up=60)["calls"]
    proofs = (_looks(ours.stack).get("proof", 0) - proofs) * 3600 / (seconds + 60)
    return {"calls": calls, "proofs": round(proofs), "beside_proofs": calls - round(proofs)}


def growth_with_watchers(number: int, most: int = 1000, seconds: float = 1200) -> dict[int, dict[str, float]]:
    """One document, each user with one visible tab: calls an hour by how many watch it."""
    found = {}
    for users in (count for count in (1, 10, 100, 1000) if count <= most):
        shape = Shape(f"{users} watchers", users, users, 1, 1, per_tab=1, visible=1.0)
        ours = Ours(Day.deal(shape, rng_of(number, "watchers")), rng_of(number, "watchers", "google"))
        found[users] = _hour(ours, seconds)
        ours.close()
    return found


def growth_with_tabs(number: int, most: int = 100, seconds: float = 1200) -> dict[int, dict[str, float]]:
    """One user, ten documents, all tabs visible: calls an hour by how many tabs there are."""
    found = {}
    for tabs in (count for count in (1, 10, 100) if count <= most):
        shape = Shape(f"{tabs} tabs", 1, 1, tabs, 10, visible=1.0)
        ours = Ours(Day.deal(shape, rng_of(number, "tabs")), rng_of(number, "tabs", "google"), _MANY)
        found[tabs] = _hour(ours, seconds)
        ours.close()
    return found


def _overloaded(number: int, users: int, documents: int, seconds: float) -> dict[str, Any]:
    """One person reads once a second while so much is watched. The quota is that of a third."""
    shape = Shape("overload", users, users, 1, documents, visible=1.0)
    day = Day.deal(shape, rng_of(number, "overload"))
    # Three quarters of four fifths are for polls; the rest is what the person may need.
    project = round(_FULL * 60 / 5 * 5 / 3 / (0.8 * 0.75))
    numbers = {"per_project_per_minute": project, "per_user_per_minute": project // 4}
    quota = "[google.quota]\nper_day = 0\n" + "".join(f"{name} = {n}\n" for name, n in numbers.items())
    ours = Ours(day, rng_of(number, "overload", "google"), quota)
    stack = ours.stack
    stack.advance(61, step=1)
    stack.control("PUT", "/sandbox/quota", {"model": "units", **numbers})
    stack.faults({"match": {"method": "drive.files.get"}, "delay": 0.2})
    person = stack.signed_in_tab(email(0))
    stack.advance(120, step=0.25)
    before = spent(stack.sandbox)
    waits: list[float] = []
    for _ in range(round(seconds)):
        began = stack.clock.seconds()
        asked = person.start("drive.files.get", fileId=file_id(day.watches[0][0]), maxAge=0)
        while person.answer(asked) is None:
            stack.advance(0.02, step=0.02)
        assert "result" in (person.answer(asked) or {}), person.answer(asked)
        waits.append(stack.clock.seconds() - began)
        person.wire.sent.clear()
        stack.advance(max(0.0, began + 1 - stack.clock.seconds()), step=0.1)
    after = spent(stack.sandbox)
    stretch = stack.assembly.economy.demand.stretch
    refused = _refused(stack)
    most = stack.control("GET", "/sandbox/calls")["max_per_minute"]["units"]
    ours.close()
    waits.sort()
    return {
        "wait_median": round(waits[len(waits) // 2], 3),
        "wait_p99": round(waits[int(len(waits) * 0.99)], 3),
        "units_per_minute": round((after["total"]["units"] - before["total"]["units"]) * 60 / seconds),
        "quota_per_minute": project,
        "most_in_a_minute": most,
        "refused_for_quota": refused,
        "stretch": round(stretch, 2),
    }


# So many visible documents are what the overloaded quota would be full of three times.
_FULL = 120


def _refused(stack: Stack) -> int:
    """Requests that Google's quota refused, of a user or of the project."""
    total = 0.0
    for family in stack.assembly.metrics.registry.collect():
        if family.name == "docsession_google_requests":
            for sample in family.samples:
                if sample.name.endswith("_total") and "imitExceeded" in sample.labels["outcome"]:
                    total += sample.value
    return round(total)


def overload(number: int, seconds: float = 240) -> dict[str, Any]:
    """The same person with nobody else, and beside polls for three times the quota."""
    return {
        "unloaded": _overloaded(number, 1, 10, seconds),
        "overloaded": _overloaded(number, 40, _FULL, seconds),
    }


class _Chaos:
    """Random changes with faults, restarts and lost tokens; every tab comes back as a page would."""

    USERS, DOCUMENTS, WATCHED = 12, 40, 10

    def __init__(self, number: int) -> None:
        self.rng = rng_of(number, "chaos")
        shape = Shape("chaos", self.USERS, self.USERS, 2, self.DOCUMENTS, self.WATCHED)
        self.day = Day.deal(shape, self.rng)
        self.stack = Stack(world=seed(self.day), rng=rng_of(number, "chaos", "google"))
        self.identities = [self.stack.sign_in(email(user)) for user in range(self.USERS)]
        self.pages = [_Page(self, plan.user, plan.visible) for plan in self.day.tabs]
        for page in self.pages:
            page.come()

    def change(self) -> None:
        world = self.stack.sandbox.world
        file = world.files[file_id(self.rng.randrange(self.DOCUMENTS))]
        owner = world.owner_of(file)
        assert owner is not None
        if self.rng.random() < 0.2:
            world.look_at(file, owner)
        else:
            file.name = f"Name {self.rng.getrandbits(40):x}"
            world.touch(file, owner, modified=world.now())

    def break_something(self) -> None:
        method = self.rng.choice(["drive.*", "drive.files.get", "drive.changes.*", "drive.comments.list"])
        fault: dict[str, Any] = {"match": {"method": method}, "times": self.rng.randint(1, 20)}
        fault |= self.rng.choice(
            [
                {"status": 503},
                {"status": 500, "body": "<html>"},
                {"status": 429, "reason": "rateLimitExceeded", "retry_after": 2},
                {"reason": "userRateLimitExceeded"},
                {"drop": True},
                {"hang": True},
                {"delay": 3.0},
                {"match": {"method": "drive.changes.list"}, "status": 410, "reason": "gone"},
                {"match": {"method": "drive.changes.list"}, "status": 400, "reason": "invalid"},
                {"match": {"method": "oauth2.token*"}, "status": 503},
            ]
        )
        self.stack.faults(fault)

    def restart(self) -> None:
        for page in self.pages:
            page.go()
        self.stack.stop_server()
        self.stack.start_server()
        for page in self.pages:
            page.come()

    def run(self, changes: int, per_second: float = 5.0) -> dict[str, Any]:
        made, seconds = 0, 0
        while made < changes:
            for _ in range(round(per_second)):
                self.change()
                made += 1
            self.stack.advance(1.0)
            seconds += 1
            if seconds % 15 == 0:
                self.break_something()
            if seconds % 40 == 0:
                page = self.rng.choice(self.pages)
                page.go()
                self.stack.advance(self.rng.choice([0.5, 5, 30]))
                page.come()
            if seconds % 250 == 0:
                self.restart()
        self.stack.faults()
        self.stack.advance(400, step=1.0)
        lost = sum(page.lost() for page in self.pages)
        doubled = sum(page.doubled for page in self.pages)
        self.stack.close()
        return {"changes": made, "seconds": seconds, "lost": lost, "doubled": doubled}


class _Page:
    """One tab of the chaos: keeps what it was told, as the bundled client does."""

    def __init__(self, chaos: _Chaos, user: int, visible: bool) -> None:
        self._chaos = chaos
        self._user = user
        self._visible = visible
        self._tab: Tab | None = None
        self._read = 0
        self._known: dict[str, dict[str, Any]] = {}
        self._listing: Any = None
        self.doubled = 0

    def come(self) -> None:
        """Open, and watch with the versions it has."""
        tab = self._tab = self._chaos.stack.tab(self._chaos.identities[self._user], visible=self._visible)
        self._read = len(tab.wire.sent)
        for document in self._chaos.day.watches[self._user]:
            self._watch(tab, file_id(document))
        while "result" not in (answer := self._ask(tab, "listings.watch", {"pageSize": 100})):
            self._chaos.stack.advance(1)
        self._listing = answer["result"]["data"]

    def _watch(self, tab: Tab, document: str) -> None:
        known = self._known.get(document)
        params = {"fileId": document} | ({} if known is None else {"version": known["version"]})
        while "result" not in (answer := self._ask(tab, "documents.watch", params)):
            self._chaos.stack.advance(1)
        self._hear()
        self._known[document] = answer["result"]

    def _ask(self, tab: Tab, method: str, params: dict[str, Any]) -> dict[str, Any]:
        asked = tab.start(method, **params)
        while (answer := tab.answer(asked)) is None:
            self._chaos.stack.advance(0.5)
        return answer

    def go(self) -> None:
        assert self._tab is not None
        self._hear()
        self._tab.lose()
        self._tab = None

    def _hear(self) -> None:
        assert self._tab is not None
        for message in self._tab.wire.sent[self._read :]:
            params = message.get("params", {})
            if message.get("method") == "document.changed":
                known = self._known.get(params["fileId"])
                self.doubled += known is not None and known["version"] == params["version"]
                self._known[params["fileId"]] = params
            elif message.get("method") == "listing.changed":
                self.doubled += self._listing == params["data"]
                self._listing = params["data"]
        self._read = len(self._tab.wire.sent)

    def lost(self) -> int:
        """Documents whose last told state is not the sandbox's; and the listing."""
        self._hear()
        files = self._chaos.stack.sandbox.world.files
        wrong = sum(known["file"]["name"] != files[document].name for document, known in self._known.items())
        names = {entry["id"]: entry["name"] for entry in self._listing["files"]}
        return wrong + sum(files[each].name != name for each, name in names.items())


def nothing_lost(number: int, changes: int = 10_000) -> dict[str, Any]:
    """So many changes; what was lost or told twice in the end."""
    return _Chaos(number).run(changes)
