"""What pages ask of Drive, through the whole server: cached reads, writes in order, and the hub."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support import Stack, Tab

ANN, BOB = "ann@example.com", "bob@example.com"


class DriveCallsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.stack = Stack()
        self.addCleanup(self.stack.close)
        self.ann = self.stack.signed_in_tab(ANN)
        self.talk = self.stack.file("Talk for the shops")  # Ann's; Bob may write, Cat read

    def get(self, tab: Tab | None = None, **more: Any) -> tuple[Any, str]:
        result = (tab or self.ann).call("drive.files.get", fileId=self.talk, **more)
        return result["data"].get("name"), result["source"]

    def rename(self, name: str, tab: Tab | None = None) -> dict[str, Any]:
        return (tab or self.ann).call(  # type: ignore[no-any-return]
            "drive.files.update", fileId=self.talk, requestBody={"name": name}
        )

    def at_google(self, method: str, path: str, body: Any = None) -> Any:
        return self.stack.as_person(ANN, method, f"/drive/v3/files/{path}", body)

    # -- reads

    def test_where_an_answer_comes_from_and_how_old_it_is(self) -> None:
        first = self.ann.call("drive.files.get", fileId=self.talk)
        self.stack.advance(100)
        again = self.ann.call("drive.files.get", fileId=self.talk)
        self.assertEqual((first["source"], again["source"]), ("google", "cache"))
        self.assertEqual((first["data"], first["as_of"]), (again["data"], again["as_of"]))
        self.stack.advance(21)
        self.assertEqual(self.get()[1], "google")

    def test_max_age(self) -> None:
        self.get()
        self.at_google("PATCH", self.talk, {"name": "New"})
        self.stack.advance(5)
        self.assertEqual(self.get(maxAge=60), ("Talk for the shops", "cache"))
        self.assertEqual(self.get(maxAge=4), ("New", "google"))
        self.assertEqual(self.get(maxAge=0), ("New", "google"))

    def test_the_same_question_in_other_words_is_the_same(self) -> None:
        self.get(fields="id,name")
        self.assertEqual(self.get(fields="name,id")[1], "cache")
        self.assertEqual(self.get(fields="name")[1], "google")

    def test_another_user_asks_for_themselves(self) -> None:
        bob = self.stack.signed_in_tab(BOB)
        self.assertEqual((self.get()[1], self.get(bob)[1]), ("google", "google"))
        private = self.stack.file("Notes to myself")
        self.ann.call("drive.files.get", fileId=private)
        self.assertEqual(bob.refused("drive.files.get", fileId=private)["data"]["name"], "not_found")

    def test_what_is_not_kept(self) -> None:
        for method, params in (
            ("drive.permissions.list", {"fileId": self.talk}),
            ("drive.about.get", {"fields": "user"}),
            ("drive.revisions.list", {"fileId": self.talk}),
        ):
            sources = [self.ann.call(method, **params)["source"] for _ in range(2)]
            self.assertEqual(sources, ["google", "google"], method)

    def test_comments_are_kept_only_of_documents_that_somebody_watches(self) -> None:
        def source() -> str:
            return str(self.ann.call("drive.comments.list", fileId=self.talk)["source"])

        self.assertEqual([source(), source()], ["google", "google"])
        self.ann.call("documents.watch", fileId=self.talk)
        self.assertEqual([source(), source()], ["google", "cache"])
        bob = self.stack.signed_in_tab(BOB)
        bob.call("drive.comments.create", fileId=self.talk, requestBody={"content": "New"})
        self.assertEqual([source(), source()], ["google", "cache"])
        self.at_google("POST", f"{self.talk}/comments?fields=id", {"content": "At Google"})
        self.stack.advance(8)
        self.assertEqual(source(), "google")

    def test_what_a_look_finds_drops_what_was_kept(self) -> None:
        self.ann.call("documents.watch", fileId=self.talk)
        self.get()
        self.at_google("PATCH", self.talk, {"name": "New"})
        self.stack.advance(8)
        self.assertEqual(self.get(), ("New", "google"))

    def test_what_is_kept_outlives_the_access_token(self) -> None:
        self.get()
        token = self.users()[0]._account.grant.grant.access_token
        self.stack.control("POST", "/sandbox/grants", {"email": ANN, "do": "expire_access"})
        self.ann.call("drive.about.get", fields="user")
        self.assertNotEqual(self.users()[0]._account.grant.grant.access_token, token)
        self.assertEqual(self.get()[1], "cache")

    def test_a_listing_without_ids_is_dropped_with_any_file(self) -> None:
        bob = self.stack.signed_in_tab(BOB)

        def listed(mask: str) -> str:
            return str(bob.call("drive.files.list", q="trashed=false", fields=mask)["source"])

        self.assertEqual([listed("files(name)"), listed("files(name)")], ["google", "cache"])
        self.rename("Mine")
        self.assertEqual(listed("files(name)"), "google")

    def test_while_google_is_away_an_older_answer_serves_where_that_is_allowed(self) -> None:
        self.stack = Stack("[google]\nserve_stale = 3600\ntries = 1")
        self.addCleanup(self.stack.close)
        self.ann = self.stack.signed_in_tab(ANN)
        self.talk = self.stack.file("Talk for the shops")
        first = self.ann.call("drive.files.get", fileId=self.talk)
        self.stack.advance(300)
        self.stack.faults({"match": {"method": "drive.files.get"}, "status": 503})
        again = self.ann.call("drive.files.get", fileId=self.talk)
        self.assertEqual((again["source"], again["as_of"]), ("cache", first["as_of"]))
        error = self.ann.refused("drive.files.get", fileId=self.talk, maxAge=0)
        self.assertEqual(error["data"]["name"], "google_unavailable")

    def test_what_is_asked_under_an_alias_is_dropped_by_every_change(self) -> None:
        def sources(**params: str) -> list[str]:
            return [
                str(self.ann.call("drive.files.get", fileId="root", **params)["source"]) for _ in range(2)
            ]

        for params in ({"fields": "name"}, {}):
            self.assertEqual(sources(**params), ["google", "cache"])
            root = self.ann.call("drive.files.get", fileId="root", fields="id")["data"]["id"]
            bob = self.stack.signed_in_tab(BOB)
            self.stack.assembly.documents.written.touched(root)
            self.assertEqual(sources(**params), ["google", "cache"], params)
            bob.lose()

    def test_who_lost_access_is_shown_nothing_old_while_google_is_away(self) -> None:
        stack = Stack("[google]\nserve_stale = 3600\n")
        self.addCleanup(stack.close)
        bob = stack.signed_in_tab(BOB)
        talk = stack.file("Talk for the shops")
        bob.call("documents.watch", fileId=talk)
        bob.call("drive.files.get", fileId=talk)
        path = f"/drive/v3/files/{talk}/permissions"
        listed = stack.as_person(ANN, "GET", f"{path}?fields=permissions(id,emailAddress)")["permissions"]
        permission = next(one["id"] for one in listed if one.get("emailAddress") == BOB)
        stack.as_person(ANN, "DELETE", f"{path}/{permission}")
        stack.advance(20)
        self.assertEqual(len(bob.events("document.lost")), 1)
        stack.faults({"match": {"method": "drive.files.get"}, "status": 503})
        call = bob.start("drive.files.get", fileId=talk)
        stack.advance(60)
        answer = bob.answer(call) or {}
        self.assertEqual(answer["error"]["data"]["name"], "google_unavailable")

    # -- a page reads its own writes

    def test_of_what_is_in_a_folder_that_goes(self) -> None:
        plan, folder = self.stack.file("Autumn plan"), self.stack.file("Catalogue")
        params = {"fileId": plan, "fields": "id,trashed"}
        self.assertFalse(self.ann.call("drive.files.get", **params)["data"]["trashed"])
        self.ann.call("drive.files.update", fileId=folder, requestBody={"trashed": True})
        self.assertTrue(self.ann.call("drive.files.get", **params)["data"]["trashed"])

    def test_of_a_file_and_of_listings(self) -> None:
        bob = self.stack.signed_in_tab(BOB)

        def listed(tab: Tab) -> tuple[set[str], str]:
            result = tab.call("drive.files.list", q="trashed=false", pageSize=100)
            return {file["name"] for file in result["data"]["files"]}, result["source"]

        for tab in (self.ann, bob):
            self.get(tab)
            listed(tab)
        self.rename("Mine")
        self.assertEqual(self.get(), ("Mine", "google"))
        self.assertIn("Mine", listed(self.ann)[0])
        self.assertEqual(self.get(bob), ("Mine", "google"))
        self.assertIn("Mine", listed(bob)[0])
        self.ann.call("drive.files.create", requestBody={"name": "Created"})
        self.assertIn("Created", listed(self.ann)[0])
        copy = self.ann.call("drive.files.copy", fileId=self.talk, requestBody={"name": "Copied"})
        self.assertIn("Copied", listed(self.ann)[0])
        self.ann.call("drive.files.delete", fileId=copy["data"]["id"])
        self.assertNotIn("Copied", listed(self.ann)[0])

    def test_also_where_googles_number_did_not_move_for_it(self) -> None:
        # What only one person sees (a star) need not move it; or a poll was quicker.
        self.ann.call("documents.watch", fileId=self.talk)
        self.get(fields="id,name")
        document = self.stack.assembly.documents._documents[self.talk]
        result = self.ann.call("drive.files.update", fileId=self.talk, requestBody={"starred": True})
        document.google_version = int(result["data"]["version"])
        self.get(fields="id,name")
        self.ann.call("drive.files.update", fileId=self.talk, requestBody={"starred": True})
        self.assertEqual(self.get(fields="id,name")[1], "google")

    def test_also_where_the_outcome_is_unknown(self) -> None:
        def listed() -> set[str]:
            result = self.ann.call("drive.files.list", q="trashed=false", pageSize=100)
            return {file["name"] for file in result["data"]["files"]}

        listed()
        self.get()
        self.stack.faults({"match": {"method": "drive.files.*"}, "times": 1, "after": True, "status": 503})
        error = self.ann.refused("drive.files.create", requestBody={"name": "Created"})
        self.assertEqual(error["code"], 1010)
        self.assertIn("Created", listed())
        self.stack.faults(
            {"match": {"method": "drive.files.update"}, "times": 1, "after": True, "drop": True}
        )
        error = self.ann.refused("drive.files.update", fileId=self.talk, requestBody={"name": "Mine"})
        self.assertEqual(error["code"], 1010)
        self.assertEqual(self.get(), ("Mine", "google"))

    # -- writes

    def test_writes_to_one_file_by_one_user_go_in_the_order_they_came(self) -> None:
        self.stack.faults({"match": {"method": "drive.files.update"}, "times": 1, "delay": 5})
        other = self.stack.tab(self.ann.identity)
        first = self.ann.start("drive.files.update", fileId=self.talk, requestBody={"name": "First"})
        second = other.start("drive.files.update", fileId=self.talk, requestBody={"name": "Second"})
        third = self.ann.start("drive.comments.create", fileId=self.talk, requestBody={"content": "Third"})
        # Another file, and somebody else, do not wait.
        self.ann.call(
            "drive.files.update", fileId=self.stack.file("Notes to myself"), requestBody={"name": "Notes"}
        )
        bob = self.stack.signed_in_tab(BOB)
        bob.call("drive.comments.create", fileId=self.talk, requestBody={"content": "Bob's"})
        self.stack.advance(4)
        self.assertEqual([self.ann.answer(first), other.answer(second), self.ann.answer(third)], [None] * 3)
        self.assertEqual(self.stack.calls()["drive.files.update"], 2)
        self.stack.advance(2)
        self.assertNotIn(None, [self.ann.answer(first), other.answer(second), self.ann.answer(third)])
        self.assertEqual(self.get(maxAge=0)[0], "Second")
        users = [user for users in self.users() for user in users._writing.in_use]
        self.assertEqual(users, [])

    def users(self) -> list[Any]:
        return [user.calls for user in self.stack.assembly.directory.live_users()]

    def test_one_that_fails_does_not_hold_up_the_next(self) -> None:
        self.stack.faults({"match": {"method": "drive.files.update"}, "times": 1, "status": 500})
        self.ann.refused("drive.files.update", fileId=self.talk, requestBody={"name": "First"})
        self.rename("Second")
        self.assertEqual(self.get()[0], "Second")

    def test_a_writes_answer_may_hold_more_than_was_asked_for_but_nobody_elses_does(self) -> None:
        bob = self.stack.signed_in_tab(BOB)
        bob.call("documents.watch", fileId=self.talk)
        result = self.ann.call(
            "drive.files.update", fileId=self.talk, requestBody={"name": "Mine"}, fields="owners"
        )
        self.assertLessEqual({"owners", "version", "capabilities"}, result["data"].keys())
        (event,) = bob.events("document.changed")
        self.assertFalse({"owners", "capabilities", "parents"} & event["file"].keys())

    def test_permissions_that_may_have_been_written_make_proofs_stale(self) -> None:
        bob = self.stack.signed_in_tab(BOB)
        for tab in (self.ann, bob):
            tab.call("documents.watch", fileId=self.talk)
        path = f"{self.talk}/permissions?fields=permissions(id,emailAddress)"
        permission = next(
            one["id"] for one in self.at_google("GET", path)["permissions"] if one.get("emailAddress") == BOB
        )
        self.stack.faults(
            {"match": {"method": "drive.permissions.delete"}, "times": 1, "after": True, "status": 503}
        )
        error = self.ann.refused("drive.permissions.delete", fileId=self.talk, permissionId=permission)
        self.assertEqual(error["code"], 1010)
        self.rename("Secret")
        self.stack.advance(5)
        self.assertEqual(bob.events("document.changed"), [])
        self.assertEqual(len(bob.events("document.lost")), 1)

    def test_moving_a_file_makes_proofs_stale(self) -> None:
        plan = self.stack.file("Autumn plan")  # Bob sees it through the folder alone
        bob = self.stack.signed_in_tab(BOB)
        bob.call("documents.watch", fileId=plan)
        self.ann.call(
            "drive.files.update",
            fileId=plan,
            addParents="root",
            removeParents=self.stack.file("Catalogue"),
            requestBody={"name": "Secret"},
        )
        self.assertEqual(bob.events("document.changed"), [])
        self.stack.advance(5)
        self.assertEqual([event["method"] for event in bob.events()], ["document.lost"])

    def test_trashed_and_restored(self) -> None:
        bob = self.stack.signed_in_tab(BOB)
        bob.call("documents.watch", fileId=self.talk)
        for trashed in (True, False):
            self.ann.call("drive.files.update", fileId=self.talk, requestBody={"trashed": trashed})
            event = bob.events("document.changed")[-1]
            self.assertEqual((event["file"]["trashed"], "trashed" in event["changed"]), (trashed, True))
