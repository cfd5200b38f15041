"""Watched documents through the whole server, over the sandbox."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from docsession.errors import Unavailable
from docsession.model import DocumentRecord
from tests.histories import FILE_FIELDS
from tests.support import Stack, Tab

ANN, BOB, CAT = "ann@example.com", "bob@example.com", "cat@example.com"


class StackTestCase(SynchronousTestCase):
    toml = ""

    def setUp(self) -> None:
        self.stack = Stack(self.toml)
        self.addCleanup(self.stack.close)
        self.talk = self.stack.file("Talk for the shops")  # Ann's; Bob may write, Cat read

    def tab(self, email: str, **watch: Any) -> Tab:
        """A new browser of that person, signed in, with a tab that watches the talk."""
        tab = self.stack.signed_in_tab(email)
        tab.call("documents.watch", fileId=self.talk, **watch)
        return tab

    def second(self, tab: Tab, **watch: Any) -> Tab:
        """Another tab of the same browser that watches it too."""
        other = self.stack.tab(tab.identity)
        other.call("documents.watch", fileId=self.talk, **watch)
        return other

    def rename(self, name: str) -> None:
        """Ann does, at Google itself."""
        self.stack.as_person(ANN, "PATCH", f"/drive/v3/files/{self.talk}", {"name": name})

    def unshare(self, email: str) -> None:
        """Ann does, at Google itself."""
        self.stack.as_person(
            ANN, "DELETE", f"/drive/v3/files/{self.talk}/permissions/{self.permission(email)}"
        )

    def permission(self, email: str) -> str:
        path = f"/drive/v3/files/{self.talk}/permissions?fields=permissions(id,emailAddress)"
        listed = self.stack.as_person(ANN, "GET", path)["permissions"]
        return next(str(one["id"]) for one in listed if one.get("emailAddress") == email)

    def looks(self) -> int:
        return self.stack.calls().get("drive.files.get", 0)

    def names(self, tab: Tab) -> list[str]:
        return [event["file"]["name"] for event in tab.events("document.changed")]


class OneLookForAll(StackTestCase):
    def test_one_poll_serves_all_tabs_of_all_users_with_the_same_bytes(self) -> None:
        ann, bob = self.tab(ANN), self.tab(BOB)
        tabs = [ann, bob, self.second(ann), self.second(bob)]
        self.assertEqual(self.looks(), 2)  # each with eyes of their own, whatever the number of tabs
        before = self.looks()
        self.rename("New")
        self.stack.advance(7)
        self.assertEqual([self.names(tab) for tab in tabs], [["New"]] * 4)
        self.assertEqual(len({tab.wire.raw[-1] for tab in tabs}), 1)
        self.assertLessEqual(self.looks() - before, 2)
        self.assertEqual(ann.events("document.changed")[0]["via"], "poll")
        self.assertIn("name", ann.events("document.changed")[0]["changed"])

    def test_polling_costs_the_same_however_many_watch(self) -> None:
        self.tab(ANN)
        before = self.looks()
        self.stack.advance(60)
        alone = self.looks() - before
        for _ in range(3):
            self.tab(BOB)
            self.tab(CAT)
        before = self.looks()
        self.stack.advance(60)
        self.assertLessEqual(self.looks() - before, alone + 4)

    def test_a_rename_through_docsession_reaches_other_users_without_google(self) -> None:
        ann, bob = self.tab(ANN), self.tab(BOB)
        other = self.second(ann)
        self.stack.assembly.documents.schedule.stopService()
        ann.call("drive.files.update", fileId=self.talk, requestBody={"name": "Mine"}, fields="id")
        self.assertEqual((self.names(bob), self.names(other), self.names(ann)), (["Mine"], ["Mine"], []))
        self.assertEqual(bob.events("document.changed")[0]["via"], "peer")
        calls = self.stack.calls()
        self.assertEqual((calls["drive.files.get"], calls["drive.files.update"]), (2, 1))

    def test_polls_after_a_write_say_nothing_more(self) -> None:
        ann, bob = self.tab(ANN), self.tab(BOB)
        ann.call("drive.files.update", fileId=self.talk, requestBody={"name": "Mine"})
        self.stack.advance(30)
        self.assertEqual((self.names(bob), self.names(ann)), (["Mine"], []))

    def test_only_what_does_not_depend_on_who_looks_is_in_an_event(self) -> None:
        bob = self.tab(BOB)
        ann = self.tab(ANN, comments=True)
        ann.call("drive.files.update", fileId=self.talk, requestBody={"name": "Mine"}, fields="*")
        self.rename("New")
        self.stack.advance(10)
        said = [*bob.events("document.changed"), *ann.events("document.changed")]
        self.assertEqual(len(said), 3)
        for event in said:
            self.assertLessEqual(event["file"].keys(), FILE_FIELDS)
            self.assertEqual(event["file"]["lastModifyingUser"].keys(), {"displayName", "photoLink"})
            self.assertEqual(event["file"]["version"], event["version"])
        for tab in (ann, bob):
            for message in tab.wire.sent:
                if "method" in message or "file" in (message.get("result") or {}):
                    text = json.dumps(message)
                    for hidden in ("emailAddress", '"me"', "capabilities", "parents", "permission"):
                        self.assertNotIn(hidden, text)

    def test_trashed_with_its_folder_shows_to_whoever_asks_next(self) -> None:
        """Google's number does not move, and the version told is that number: so it is no event."""
        ann = self.tab(ANN)
        world = self.stack.sandbox.world
        folder, talk = world.files[self.stack.file("Catalogue")], world.files[self.talk]
        world.children[talk.parent].discard(talk.id)
        talk.parent = folder.id
        folder.trashed = True
        self.stack.advance(20)
        self.assertEqual(ann.events("document.changed"), [])
        again = ann.call("documents.watch", fileId=self.talk)
        self.assertTrue(again["file"]["trashed"])

    def test_a_view_at_google_is_no_event(self) -> None:
        ann = self.tab(ANN)
        version = ann.call("documents.watching")["documents"][0]["version"]
        for _ in range(3):
            self.stack.control("POST", "/sandbox/view", {"email": BOB, "file": self.talk})
            self.stack.advance(8)
        self.assertEqual(ann.events(), [])
        self.assertEqual(ann.call("documents.watching")["documents"][0]["version"], version)
        # The number that Google counts by has moved, and a change is still seen.
        self.rename("New")
        self.stack.advance(8)
        self.assertEqual(self.names(ann), ["New"])


class OwnEyes(StackTestCase):
    toml = "[polling]\nvisible = 100_000\nhidden = 100_000\n"

    def test_a_stale_proof_means_a_fresh_look_first(self) -> None:
        bob = self.tab(BOB)
        self.stack.advance(601, step=100)
        ann = self.tab(ANN)
        before = self.looks()
        ann.call("drive.files.update", fileId=self.talk, requestBody={"name": "Mine"})
        self.assertEqual((self.names(bob), self.looks()), ([], before))
        self.stack.advance(1)
        self.assertEqual((self.names(bob), self.looks()), (["Mine"], before + 1))

    def test_whose_look_is_refused_hears_nothing(self) -> None:
        bob = self.tab(BOB)
        self.stack.advance(601, step=100)
        ann = self.tab(ANN)
        self.unshare(BOB)
        ann.call("drive.files.update", fileId=self.talk, requestBody={"name": "Secret"})
        self.stack.advance(1)
        self.assertEqual(bob.events(), [])
        self.stack.advance(3)
        self.assertEqual(
            [(event["method"], event["params"]) for event in bob.events()],
            [("document.lost", {"fileId": self.talk, "reason": "no_access"})],
        )

    def test_permissions_written_here_make_everybody_look_anew_first(self) -> None:
        ann, bob, cat = self.tab(ANN), self.tab(BOB), self.tab(CAT)
        before = self.looks()
        ann.call("drive.permissions.delete", fileId=self.talk, permissionId=self.permission(BOB))
        ann.call("drive.files.update", fileId=self.talk, requestBody={"name": "Secret"})
        self.assertEqual((bob.events(), cat.events("document.changed")), ([], []))
        self.stack.advance(1)
        self.assertEqual(self.looks() - before, 3)
        self.assertEqual(self.names(cat), ["Secret"])
        self.stack.advance(3)
        self.assertEqual(bob.events("document.changed"), [])
        self.assertEqual(bob.events("document.lost"), [{"fileId": self.talk, "reason": "no_access"}])

    def test_only_whose_own_view_changed_is_told_so(self) -> None:
        ann, bob, cat = self.tab(ANN), self.tab(BOB), self.tab(CAT)
        self.stack.as_person(
            ANN,
            "PATCH",
            f"/drive/v3/files/{self.talk}/permissions/{self.permission(CAT)}",
            {"role": "commenter"},
        )
        ann.call("drive.permissions.list", fileId=self.talk)
        self.stack.assembly.documents.written.access_changed(self.talk)
        self.stack.advance(2)
        self.assertEqual(len(cat.events("document.touched")), 1)
        self.assertEqual(cat.events("document.touched")[0].keys(), {"fileId", "version"})
        self.assertEqual((bob.events(), ann.events(), cat.events("document.changed")), ([], [], []))


class Losing(StackTestCase):
    def test_delivery_stops_at_once_and_a_second_look_ends_the_watch(self) -> None:
        bob, ann = self.tab(BOB), self.tab(ANN)
        self.stack.advance(20)
        self.unshare(BOB)
        while not [w for d in self.documents() for w in d.watchers.values() if w.lost_since is not None]:
            self.stack.advance(0.5)
        ann.call("drive.files.update", fileId=self.talk, requestBody={"name": "Secret"})
        self.assertEqual(bob.events(), [])
        self.stack.advance(1)
        self.assertEqual(bob.events(), [])
        self.stack.advance(2.5)
        self.assertEqual(bob.events("document.lost"), [{"fileId": self.talk, "reason": "no_access"}])
        self.assertEqual(bob.call("documents.watching"), {"documents": []})
        self.assertEqual(bob.refused("documents.watch", fileId=self.talk)["data"]["name"], "not_found")
        self.stack.advance(20)
        self.assertEqual(len(bob.events()), 1)

    def documents(self) -> list[Any]:
        return list(self.stack.assembly.documents._documents.values())

    def test_shared_again_and_watched_again(self) -> None:
        bob = self.tab(BOB)
        self.unshare(BOB)
        self.stack.advance(12)
        self.assertEqual(len(bob.events("document.lost")), 1)
        self.stack.as_person(
            ANN,
            "POST",
            f"/drive/v3/files/{self.talk}/permissions",
            {"type": "user", "role": "reader", "emailAddress": BOB},
        )
        bob.call("documents.watch", fileId=self.talk)
        self.rename("New")
        self.stack.advance(8)
        self.assertEqual(self.names(bob), ["New"])

    def test_deleted_here_is_lost_to_all_at_once(self) -> None:
        ann, bob = self.tab(ANN), self.tab(BOB)
        other = self.second(ann)
        ann.call("drive.files.delete", fileId=self.talk)
        for tab in (ann, bob, other):
            self.assertEqual(tab.events("document.lost"), [{"fileId": self.talk, "reason": "deleted"}])
        self.stack.advance(20)
        self.assertEqual(len(self.stack.assembly.documents), 0)
        self.assertEqual(bob.refused("documents.watch", fileId=self.talk)["data"]["name"], "not_found")

    def test_deleted_at_google_is_lost_to_all(self) -> None:
        ann, bob = self.tab(ANN), self.tab(BOB)
        self.stack.as_person(ANN, "DELETE", f"/drive/v3/files/{self.talk}")
        self.stack.advance(30)
        for tab in (ann, bob):
            self.assertEqual(tab.events("document.lost"), [{"fileId": self.talk, "reason": "no_access"}])
        before = self.stack.calls()
        self.stack.advance(120)
        self.assertEqual(self.stack.calls(), before)

    def test_where_a_domain_forbids_it_nothing_is_polled_in_that_name(self) -> None:
        ann, bob = self.tab(ANN), self.tab(BOB)
        self.stack.faults({"match": {"method": "drive.files.get", "user": ANN}, "reason": "domainPolicy"})
        self.stack.advance(30)
        told = {"reason": "google_forbids", "retry_after": 3600.0}
        self.assertEqual(ann.events("session.degraded"), [told])
        self.rename("Seen by Bob")
        asked = self.asked_by(ANN)
        self.stack.advance(300)
        self.assertEqual((self.asked_by(ANN), self.names(bob)), (asked, ["Seen by Bob"]))
        self.assertEqual(bob.events("session.degraded"), [])
        self.stack.faults()
        self.stack.advance(3500)
        self.assertEqual(len(ann.events("session.recovered")), 1)
        self.assertEqual(self.names(ann), ["Seen by Bob"])

    def asked_by(self, email: str) -> int:
        return int(self.stack.control("GET", "/sandbox/calls")["by_user"][email]["calls"])

    def test_rate_and_weather_are_no_loss(self) -> None:
        for fault in (
            {"reason": "userRateLimitExceeded"},
            {"status": 503},
            {"reason": "insufficientPermissions"},
            {"status": 404, "body": "<html>not here</html>"},
        ):
            ann = self.tab(ANN)
            self.stack.faults({"match": {"method": "drive.files.get"}, **fault})
            self.stack.advance(20)
            self.stack.faults()
            self.stack.advance(80)
            self.assertEqual(ann.events("document.lost"), [], fault)
            self.rename(f"After {fault}")
            self.stack.advance(8)
            self.assertEqual(self.names(ann), [f"After {fault}"])
            ann.lose()


class Watching(StackTestCase):
    toml = "[limits]\nwatches_per_connection = 2\n"

    def test_a_known_version_has_not_changed(self) -> None:
        ann = self.stack.signed_in_tab(ANN)
        first = ann.call("documents.watch", fileId=self.talk)
        self.assertTrue(first["changed"])
        again = ann.call("documents.watch", fileId=self.talk, version=first["version"])
        self.assertFalse(again["changed"])
        self.stack.control("POST", "/sandbox/view", {"email": BOB, "file": self.talk})
        self.stack.advance(8)
        again = ann.call("documents.watch", fileId=self.talk, version=first["version"])
        self.assertFalse(again["changed"])
        self.rename("New")
        self.stack.advance(8)
        last = ann.call("documents.watch", fileId=self.talk, version=first["version"])
        self.assertTrue(last["changed"])
        self.assertEqual((last["file"]["name"], last["file"]["version"]), ("New", last["version"]))

    def test_an_alias_is_another_file_for_everybody(self) -> None:
        ann, bob = self.stack.signed_in_tab(ANN), self.stack.signed_in_tab(BOB)
        one = ann.call("documents.watch", fileId="root")["fileId"]
        other = bob.call("documents.watch", fileId="root")["fileId"]
        self.assertNotEqual(one, other)
        self.assertNotIn("root", (one, other))
        self.assertEqual(ann.call("documents.watching")["documents"][0]["fileId"], one)
        ann.call("documents.unwatch", fileId=one)
        self.assertEqual(ann.call("documents.watching"), {"documents": []})

    def test_over_the_limit_is_refused_by_name(self) -> None:
        ann = self.stack.signed_in_tab(ANN)
        for name in ("Autumn plan", "Notes to myself"):
            ann.call("documents.watch", fileId=self.stack.file(name))
        error = ann.refused("documents.watch", fileId=self.talk)
        self.assertEqual((error["data"]["name"], error["data"]["limit"]), ("too_many", 2))

    def test_unwatched_is_not_looked_at(self) -> None:
        ann, bob = self.tab(ANN), self.tab(BOB)
        ann.call("documents.unwatch", fileId=self.talk)
        self.rename("New")
        self.stack.advance(8)
        self.assertEqual((self.names(ann), self.names(bob)), ([], ["New"]))
        bob.lose()
        before = self.looks()
        self.stack.advance(60)
        self.assertEqual(self.looks(), before)

    def test_a_tab_lost_while_its_watch_is_under_way_leaves_nothing(self) -> None:
        ann = self.stack.signed_in_tab(ANN)
        self.stack.faults({"match": {"method": "drive.files.get"}, "delay": 3})
        ann.start("documents.watch", fileId=self.talk)
        self.stack.advance(1)
        ann.lose()
        self.stack.faults()
        before = self.looks()
        self.stack.advance(60)
        self.assertEqual((len(self.stack.assembly.documents), self.looks()), (0, before))

    def test_a_failed_watch_leaves_nothing(self) -> None:
        ann = self.stack.signed_in_tab(ANN)
        self.assertEqual(ann.refused("documents.watch", fileId="nothing-here")["data"]["name"], "not_found")
        private = self.stack.file("Poem, unfinished")
        self.assertEqual(ann.refused("documents.watch", fileId=private)["data"]["name"], "not_found")
        self.assertEqual(ann.call("documents.watching"), {"documents": []})
        self.assertEqual(len(self.stack.assembly.documents), 0)


class Restarting(StackTestCase):
    def restart(self) -> None:
        self.stack.stop_server()
        self.stack.start_server()

    def test_answered_from_the_stored_state_without_google(self) -> None:
        ann = self.tab(ANN)
        self.stack.advance(20)
        known = ann.call("documents.watching")["documents"][0]
        ann.lose()
        self.restart()
        self.stack.clock.advance(300)
        before = self.stack.calls()
        back = self.stack.tab(ann.identity)
        result = back.call("documents.watch", fileId=self.talk, version=known["version"])
        self.assertEqual(self.stack.calls(), before)
        self.assertFalse(result["changed"])
        self.assertEqual(result["as_of"], known["as_of"])
        # What happened meanwhile comes with the next look, which is due within an interval.
        self.rename("Meanwhile")
        self.stack.advance(7.5)
        self.assertEqual(self.names(back), ["Meanwhile"])

    def test_a_page_that_has_seen_more_than_was_stored_is_not_sent_back(self) -> None:
        ann = self.tab(ANN)
        ann.lose()
        self.restart()
        self.rename("Later")
        version = self.stack.as_person(ANN, "GET", f"/drive/v3/files/{self.talk}?fields=version")["version"]
        back = self.stack.tab(ann.identity)
        answer = back.call("documents.watch", fileId=self.talk, version=version)
        self.assertEqual((answer["file"]["name"], answer["changed"]), ("Later", False))

    def test_what_was_stored_before_the_clock_was_set_back_proves_nothing_and_puts_off_no_look(self) -> None:
        ann = self.tab(ANN)
        self.stack.advance(20)
        ann.lose()
        self.stack.stop_server()
        self.stack.clock.rightNow -= 3600
        self.stack.start_server()
        before = self.stack.calls()["drive.files.get"]
        back = self.stack.tab(ann.identity)
        back.call("documents.watch", fileId=self.talk)
        self.assertEqual(self.stack.calls()["drive.files.get"], before + 1)
        self.rename("In time")
        self.stack.advance(15)
        self.assertEqual(self.names(back), ["In time"])

    def test_looks_after_a_restart_are_spread_over_an_interval(self) -> None:
        ann = self.stack.signed_in_tab(ANN)
        ids = [file.id for file in self.stack.sandbox.world.files.values() if self.may_see(ann, file.id)]
        for file_id in ids:
            ann.call("documents.watch", fileId=file_id)
        ann.lose()
        self.restart()
        self.stack.clock.advance(300)
        back = self.stack.tab(ann.identity)
        before = self.stack.calls()["drive.files.get"]
        for file_id in ids:
            back.call("documents.watch", fileId=file_id)
        self.stack.advance(1)
        soon = self.stack.calls()["drive.files.get"] - before
        self.assertGreater(len(ids), 5)
        self.assertLess(soon, len(ids) - 2)

    def may_see(self, tab: Tab, file_id: str) -> bool:
        answer = tab.answer(tab.start("drive.files.get", fileId=file_id))
        return answer is not None and "result" in answer

    def test_a_proof_of_one_user_is_none_of_another(self) -> None:
        ann = self.tab(ANN)
        bob = self.stack.sign_in(BOB)
        ann.lose()
        self.restart()
        self.unshare(BOB)
        tab = self.stack.tab(bob)
        self.assertEqual(tab.refused("documents.watch", fileId=self.talk)["data"]["name"], "not_found")

    def test_after_ten_minutes_google_is_asked(self) -> None:
        ann = self.tab(ANN)
        ann.lose()
        self.restart()
        self.stack.clock.advance(601)
        self.rename("New")
        tab = self.stack.tab(ann.identity)
        self.assertEqual(tab.call("documents.watch", fileId=self.talk)["file"]["name"], "New")

    def test_without_the_store_watching_goes_on(self) -> None:
        ann = self.stack.signed_in_tab(ANN)

        async def away(*_: object, **__: object) -> DocumentRecord | None:
            raise Unavailable

        for name in ("load_document", "save_document", "delete_document"):
            self.patch(self.stack.store, name, away)
        ann.call("documents.watch", fileId=self.talk)
        self.rename("New")
        self.stack.advance(8)
        self.assertEqual(self.names(ann), ["New"])
        ann.call("documents.unwatch", fileId=self.talk)
