"""The checker for runs of several nodes finds every kind of wrong that it is there to find."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.cluster_checker import RULES, Access, Facts, Run, complaints, read, write
from tests.histories import History

ANN, BOB, CAT = "ann@example.com", "bob@example.com", "cat@example.com"
DOCUMENTATION = Path(__file__).parents[2] / "docs" / "invariants.rst"

PLAN = {"id": "file-of-the-plan", "name": "Plan mark-one", "mimeType": "text/plain"}
SECRET = {"id": "file-of-the-secret", "name": "Secret mark-two", "mimeType": "text/plain"}
NOW = 1_795_000_000.0


class Tab:
    """A tab whose history is written by hand."""

    def __init__(self, name: str, user: str) -> None:
        self.history = History(name, user)
        self.ids = 0
        self.now = NOW

    def add(self, what: str, **message: Any) -> None:
        self.now += 0.1
        self.history.add(self.now, what, message)

    def open(self, node: str = "node0", session: str = "", **result: Any) -> None:
        session = session or f"session-of-{self.history.user}"
        self.add("open", node=node, session=session, user=self.history.user)
        self.call("session.open", {"session": session}, {"user": {"email": self.history.user}, **result})

    def call(self, method: str, params: dict[str, Any], result: Any = None, call_id: str = "") -> str:
        self.ids += 1
        call_id = call_id or f"{self.history.connection}-{self.ids}"
        self.add("call", jsonrpc="2.0", id=call_id, method=method, params=params)
        if result is not None:
            self.answer(call_id, result)
        return call_id

    def answer(self, call_id: str, result: Any) -> None:
        self.add("answer", jsonrpc="2.0", id=call_id, result=result)

    def event(self, method: str, **params: Any) -> None:
        self.add("event", jsonrpc="2.0", method=method, params=params)

    def watch(self, version: str = "3", file: dict[str, Any] = PLAN) -> None:
        file = {**file, "version": version}
        told = {"fileId": file["id"], "version": version, "changed": True, "file": file}
        self.call("documents.watch", {"fileId": file["id"]}, {**told, "as_of": "2026-11-18T10:00:00+00:00"})

    def changed(self, version: str, name: str) -> None:
        self.event(
            "document.changed",
            fileId=PLAN["id"],
            version=version,
            file={**PLAN, "version": version, "name": name},
            changed=["name"],
            via="peer",
            seen_at="2026-11-18T10:00:00+00:00",
        )

    def commented(self, comment_id: str) -> None:
        self.event(
            "document.comment",
            fileId=PLAN["id"],
            comment={"id": comment_id, "content": "Why?"},
            commentsMark="mark",
            via="peer",
            seen_at="2026-11-18T10:00:00+00:00",
        )

    def comment(self, text: str) -> None:
        self.call(
            "drive.comments.create",
            {"fileId": PLAN["id"], "requestBody": {"content": text}},
            {"data": {"id": f"comment-{text}"}},
        )

    def want(self, *files: str) -> None:
        self.add("want", files=list(files))


class Runs(SynchronousTestCase):
    """A run that goes well, to be spoiled."""

    def setUp(self) -> None:
        self.ann, self.bob = Tab("ann-1", ANN), Tab("bob-1", BOB)
        self.facts = Facts(
            ended_at=NOW + 100,
            files={PLAN["id"]: PLAN | {"name": "Plan mark-one, new"}, SECRET["id"]: SECRET},
            words={PLAN["id"]: PLAN["id"], "mark-one": PLAN["id"]}
            | {SECRET["id"]: SECRET["id"], "mark-two": SECRET["id"]},
            access={
                PLAN["id"]: {ANN: [Access(0.0, True)], BOB: [Access(0.0, True)]},
                SECRET["id"]: {BOB: [Access(0.0, True)]},
            },
            written={"the comment": 1},
            doors={"127.0.0.1:1": "node0", "127.0.0.1:2": "node1"},
        )
        self.ann.want(PLAN["id"])
        self.bob.want(PLAN["id"], SECRET["id"])
        for tab in (self.ann, self.bob):
            tab.open()
            tab.watch()
        self.bob.watch("2", SECRET)
        self.ann.comment("the comment")
        for tab in (self.ann, self.bob):
            tab.changed("4", "Plan mark-one, new")

    def run_of(self) -> Run:
        return Run([self.ann.history, self.bob.history], self.facts)

    def complains(self, rule: str, *words: str, times: int = 1) -> None:
        found = complaints(self.run_of())
        self.assertEqual([each.rule for each in found], [rule] * times, [str(each) for each in found])
        for word in words:
            self.assertIn(word, str(found[0]))

    def is_well(self) -> None:
        self.assertEqual([str(each) for each in complaints(self.run_of())], [])

    def looks(self, door: str, *times: float) -> None:
        for at in times:
            self.called("drive.files.get", at, door=door, file=PLAN["id"], units=5)

    def called(self, method: str, at: float, **more: Any) -> None:
        call = {"method": method, "user": ANN, "file": None, "units": 0, "status": 200, "door": ""}
        self.facts.calls.append({**call, "at": NOW + at, **more})


class Well(Runs):
    """What is allowed."""

    def test_all_well(self) -> None:
        self.is_well()

    def test_told_again_after_coming_back(self) -> None:
        self.bob.add("close", code=1006)
        self.bob.open("node1")
        self.bob.watch("4", PLAN | {"name": "Plan mark-one, new"})
        self.bob.watch("2", SECRET)
        self.is_well()

    def test_a_comment_told_again_on_another_socket(self) -> None:
        self.bob.commented("c1")
        self.bob.add("close", code=1006)
        self.bob.open("node1")
        self.bob.watch("4", PLAN | {"name": "Plan mark-one, new"})
        self.bob.watch("2", SECRET)
        self.bob.commented("c1")
        self.is_well()

    def test_a_document_is_handed_over(self) -> None:
        self.facts.settled = [(NOW, NOW + 100)]
        self.looks("127.0.0.1:1", *range(0, 50, 5))
        self.looks("127.0.0.1:2", *range(47, 100, 5))
        self.is_well()

    def test_whoever_comes_by_is_no_looker(self) -> None:
        self.facts.settled = [(NOW, NOW + 100)]
        self.looks("127.0.0.1:1", *range(0, 100, 5))
        self.looks("127.0.0.1:2", 20, 80)
        self.is_well()

    def test_two_lookers_while_redis_is_away(self) -> None:
        self.facts.settled = [(NOW + 60, NOW + 100)]
        self.looks("127.0.0.1:1", *range(0, 50, 5))
        self.looks("127.0.0.1:2", *range(0, 100, 5))
        self.is_well()

    def test_a_refresh_for_each_expiry(self) -> None:
        self.called("oauth2.token.refresh", 10.0)
        self.facts.expired[ANN] = [NOW]
        self.is_well()

    def test_a_loss_is_told_by_name_of_the_file(self) -> None:
        self.facts.access[PLAN["id"]][ANN].append(Access(self.ann.now + 0.05, False))
        self.ann.now += 1
        self.ann.event("document.lost", fileId=PLAN["id"], reason="no_access")
        self.is_well()

    def test_a_write_sent_again_on_another_socket(self) -> None:
        text = {"fileId": PLAN["id"], "requestBody": {"content": "again"}}
        self.facts.written["again"] = 1
        call_id = self.bob.call("drive.comments.create", text)
        self.bob.add("close", code=1006)
        self.bob.open("node1")
        self.bob.call("drive.comments.create", text, {"data": {"id": "c"}}, call_id=call_id)
        self.bob.watch("4", PLAN | {"name": "Plan mark-one, new"})
        self.bob.watch("2", SECRET)
        self.is_well()

    def test_signed_out(self) -> None:
        self.bob.add("leave")
        self.bob.call("session.sign_out", {}, {})
        self.bob.event("session.signed_out", reason="signed_out")
        self.bob.add("close", code=4500)
        self.is_well()

    def test_kept_in_files(self) -> None:
        self.facts.settled = [(NOW, NOW + 1)]
        directory = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, directory)
        write(self.run_of(), directory)
        kept = read(directory)
        self.assertEqual([h.entries for h in kept.histories], [h.entries for h in self.run_of().histories])
        self.assertEqual(kept.facts.access, self.facts.access)
        self.assertEqual(complaints(kept), [])


class Wrong(Runs):
    """One wrong for each rule, at least."""

    def test_well_formed(self) -> None:
        self.ann.event("session.invented")
        self.complains("well_formed", "session.invented")

    def test_own_eyes(self) -> None:
        self.ann.watch("4", PLAN | {"name": "Plan mark-one, new", "capabilities": {}})
        self.complains("own_eyes", "capabilities")

    def test_told_once(self) -> None:
        self.ann.changed("4", "Plan mark-one, new")
        self.complains("told_once", "version 4")

    def test_told_once_of_comments(self) -> None:
        told = {"fileId": PLAN["id"], "version": "4", "changed": False, "as_of": "2026-11-18T10:00:00+00:00"}
        told |= {"file": PLAN | {"version": "4", "name": "Plan mark-one, new"}, "comments": []}
        asked = {"fileId": PLAN["id"], "comments": True}
        self.ann.call("documents.watch", asked, told | {"commentsMark": "m"})
        self.facts.comments[PLAN["id"]] = {"c1": {"id": "c1", "content": "Why?"}}
        self.ann.commented("c1")
        self.ann.commented("c1")
        self.complains("told_once", "c1")

    def test_told_to_watchers(self) -> None:
        self.ann.event("document.touched", fileId="another-file", version="3")
        self.complains("told_to_watchers", "another-file")

    def test_versions_rise(self) -> None:
        self.facts.files[PLAN["id"]]["name"] = "Plan mark-one, old"
        self.ann.changed("3", "Plan mark-one, old")
        self.bob.changed("5", "Plan mark-one, old")
        self.complains("versions_rise", "3 after 4")

    def test_nothing_lost_of_names(self) -> None:
        self.facts.files[PLAN["id"]]["name"] = "Plan mark-one, newer"
        self.bob.changed("5", "Plan mark-one, newer")
        self.complains("nothing_lost", "newer", "ann-1")

    def test_nothing_lost_of_comments(self) -> None:
        known = {"commentsMark": "m", "comments": []}
        told = {"fileId": PLAN["id"], "version": "4", "changed": False, "as_of": "2026-11-18T10:00:00+00:00"}
        told["file"] = PLAN | {"version": "4", "name": "Plan mark-one, new"}
        self.ann.call("documents.watch", {"fileId": PLAN["id"], "comments": True}, told | known)
        self.facts.comments[PLAN["id"]] = {"c1": {"id": "c1", "content": "Why?"}}
        self.complains("nothing_lost", "c1")

    def test_nothing_lost_of_watches(self) -> None:
        self.ann.call("documents.unwatch", {"fileId": PLAN["id"]}, {})
        self.complains("nothing_lost", "is not watched")

    def test_nothing_lost_of_tabs(self) -> None:
        self.ann.add("close", code=1006)
        self.complains("nothing_lost", "not back")

    def test_no_leaks_of_names(self) -> None:
        self.ann.call("drive.files.list", {}, {"data": {"files": [{"name": "Secret mark-two"}]}})
        self.complains("no_leaks", "mark-two")

    def test_no_leaks_of_ids(self) -> None:
        self.ann.event("document.lost", fileId=SECRET["id"], reason="no_access")
        found = complaints(self.run_of())
        self.assertEqual({each.rule for each in found}, {"no_leaks", "told_to_watchers"})

    def test_no_leaks_of_what_was_asked_for(self) -> None:
        asked = {"fileId": SECRET["id"]}
        self.ann.call("drive.files.get", asked, {"data": {"id": SECRET["id"]}})
        self.complains("no_leaks", SECRET["id"])

    def test_no_leaks_after_a_loss(self) -> None:
        self.facts.access[PLAN["id"]][ANN].append(Access(self.ann.now, False, self.ann.now + 2))
        self.facts.files[PLAN["id"]]["name"] = "Plan mark-one, newer"
        self.bob.changed("5", "Plan mark-one, newer")
        self.ann.now += 5
        self.ann.changed("5", "Plan mark-one, newer")
        self.complains("no_leaks", times=2)

    def test_one_answer_missing(self) -> None:
        self.ann.call("session.ping", {})
        self.complains("one_answer", "session.ping")

    def test_one_answer_twice(self) -> None:
        self.ann.answer(self.ann.call("session.ping", {}, {}), {})
        self.complains("one_answer", "twice")

    def test_one_answer_of_another_socket(self) -> None:
        call_id = self.bob.call("session.ping", {})
        self.ann.answer(call_id, {})
        self.bob.answer(call_id, {})
        self.complains("one_answer", "not asked here")

    def test_writes_once(self) -> None:
        self.facts.written["the comment"] = 2
        self.complains("writes_once", "2 times")

    def test_writes_once_at_least_where_answered(self) -> None:
        self.facts.written.clear()
        self.complains("writes_once", "0 times")

    def test_signed_out_everywhere(self) -> None:
        other = Tab("bob-2", BOB)
        other.open("node1")
        other.add("leave")
        self.bob.add("leave")
        self.bob.call("session.sign_out", {}, {})
        self.bob.add("close", code=4500)
        other.now = self.bob.now + 3
        other.add("close", code=4500)
        run = self.run_of()
        run.histories.append(other.history)
        found = complaints(run)
        self.assertEqual([each.rule for each in found], ["signed_out_everywhere"])
        # A node that Redis could not reach has longer.
        self.facts.cut_off = [("node1", self.bob.now - 5, self.bob.now + 1)]
        self.assertEqual(complaints(run), [])

    def test_signed_out_everywhere_and_let_in_again(self) -> None:
        self.bob.add("leave")
        self.bob.call("session.sign_out", {}, {})
        self.bob.add("close", code=4500)
        self.bob.now += 5
        self.bob.open("node1")
        self.complains("signed_out_everywhere", "let in")

    def test_signed_out_everywhere_and_told_more(self) -> None:
        self.bob.add("leave")
        self.bob.call("session.sign_out", {}, {})
        self.bob.now += 2
        self.bob.event("session.recovered")
        self.bob.add("close", code=4500)
        self.complains("signed_out_everywhere", times=2)

    def test_one_refresh(self) -> None:
        self.facts.expired[ANN] = [NOW]
        self.called("oauth2.token.refresh", 10.0)
        self.called("oauth2.token.refresh", 11.0)
        self.complains("one_refresh", "2 refreshes")

    def test_within_quota(self) -> None:
        self.facts.units_per_minute = 20
        self.looks("127.0.0.1:1", 0, 10, 20, 30, 59)
        self.complains("within_quota", "25 units")

    def test_one_looker(self) -> None:
        self.facts.settled = [(NOW, NOW + 100)]
        self.looks("127.0.0.1:1", *range(0, 50, 5))
        self.looks("127.0.0.1:2", *range(32, 60, 5))
        self.complains("one_looker", "node0 and node1")


class Documentation(SynchronousTestCase):
    """Every rule is explained, and proven."""

    def rules(self) -> set[str]:
        return {rule.__name__ for rule in RULES}

    def test_every_rule_is_explained(self) -> None:
        text = DOCUMENTATION.read_text(encoding="utf-8")
        self.assertEqual(set(re.findall(r"^``(\w+)``$", text, re.M)), self.rules())

    def test_every_rule_is_broken_in_a_test(self) -> None:
        tests = [name for name in dir(Wrong) if name.startswith("test_")]
        proven = {rule for rule in self.rules() if any(name.startswith(f"test_{rule}") for name in tests)}
        self.assertEqual(proven, self.rules())
