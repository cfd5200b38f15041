"""The change feed: one live entry per file, in everybody's own eyes."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.unit.sandbox_driver import ANN, BOB, CAT, Driver

SEED: dict[str, Any] = {
    "drives": [{"name": "Team", "members": {ANN: "organizer", BOB: "writer"}}],
    "files": [
        {"name": "Folder", "type": "folder", "owner": ANN},
        {"name": "In folder", "owner": ANN, "folder": "Folder", "text": "one"},
        {"name": "Shared", "owner": ANN, "shared": {BOB: "writer"}, "text": "one"},
        {"name": "Linked", "owner": ANN, "shared": {"anyone": "reader"}},
        {"name": "Private", "owner": BOB, "text": "one"},
        {"name": "Of the team", "owner": ANN, "folder": "Team", "text": "one"},
    ],
}


class Tests(SynchronousTestCase):
    def setUp(self) -> None:
        self.google = Driver(SEED)

    def permission_of(self, email: str) -> str:
        return self.google.sandbox.world.people[email].permission_id

    def rename(self, name: str, new: str, who: str = ANN) -> None:
        file = self.google.id_of(name)
        self.assertEqual(self.google.drive("PATCH", f"files/{file}", who=who, body={"name": new}).status, 200)

    def edit(self, name: str, text: str, who: str = ANN) -> None:
        body = {"email": who, "file": self.google.id_of(name), "text": text}
        self.assertEqual(self.google.ask("POST", "/sandbox/edit", body=body, who=None).status, 200)


class ChangesTests(Tests):
    def test_nothing_new_echoes_the_token(self) -> None:
        token = self.google.start_token()
        self.assertEqual(self.google.changes(token), ([], token))
        self.rename("Private", "Still private", who=BOB)
        self.assertEqual(self.google.changes(token), ([], token))

    def test_tokens_are_decimal_strings(self) -> None:
        self.assertTrue(self.google.start_token().isdecimal())

    def test_two_changes_of_one_file_are_one_entry_with_the_state_of_now(self) -> None:
        token = self.google.start_token()
        self.rename("Shared", "Once")
        self.rename("In folder", "Between")
        self.rename("Once", "Twice")
        self.assertEqual(self.google.changes(token)[0], [("Between", False), ("Twice", False)])

    def test_an_entry_that_changes_while_paging_is_found_again_at_the_end(self) -> None:
        token = self.google.start_token()
        self.rename("Shared", "A")
        self.rename("In folder", "B")
        page = self.google.drive("GET", "changes", pageToken=token, pageSize=1).json
        self.assertNotIn("newStartPageToken", page)
        self.rename("A", "A again")
        seen, _ = self.google.changes(page["nextPageToken"], pageSize=1)
        self.assertEqual(seen, [("B", False), ("A again", False)])

    def test_everybody_who_may_see_it_hears_of_it(self) -> None:
        tokens = {who: self.google.start_token(who) for who in (ANN, BOB, CAT)}
        self.edit("Shared", "two", who=BOB)
        heard = {who: self.google.changes(token, who)[0] for who, token in tokens.items()}
        self.assertEqual(heard, {ANN: [("Shared", False)], BOB: [("Shared", False)], CAT: []})

    def test_comments_and_replies_are_changes(self) -> None:
        file = self.google.id_of("Shared")
        token = self.google.start_token(BOB)
        comment = self.google.drive(
            "POST", f"files/{file}/comments", body={"content": "Why?"}, fields="id"
        ).json["id"]
        seen, token = self.google.changes(token, BOB)
        self.assertEqual(seen, [("Shared", False)])
        path = f"files/{file}/comments/{comment}/replies"
        self.google.drive("POST", path, body={"content": "So"}, fields="id", who=BOB)
        self.assertEqual(self.google.changes(token, BOB)[0], [("Shared", False)])

    def test_losing_access_reads_as_removed_once(self) -> None:
        file = self.google.id_of("Shared")
        token = self.google.start_token(BOB)
        gone = self.google.drive("DELETE", f"files/{file}/permissions/{self.permission_of(BOB)}")
        self.assertEqual(gone.status, 204)
        seen, token = self.google.changes(token, BOB)
        self.assertEqual(seen, [(file, True)])
        self.rename("Shared", "Behind his back")
        self.assertEqual(self.google.changes(token, BOB), ([], token))
        self.assertEqual(self.google.changes(token, BOB, includeRemoved=False)[0], [])

    def test_gaining_access_shows_the_file(self) -> None:
        file = self.google.id_of("In folder")
        token = self.google.start_token(CAT)
        body = {"type": "user", "role": "reader", "emailAddress": CAT}
        self.google.drive("POST", f"files/{file}/permissions", body=body)
        self.assertEqual(self.google.changes(token, CAT)[0], [("In folder", False)])

    def test_sharing_a_folder_gives_no_entry_for_what_is_in_it(self) -> None:
        folder = self.google.id_of("Folder")
        token = self.google.start_token(CAT)
        body = {"type": "user", "role": "writer", "emailAddress": CAT}
        self.google.drive("POST", f"files/{folder}/permissions", body=body)
        self.assertEqual(self.google.changes(token, CAT)[0], [("Folder", False)])
        inside = self.google.id_of("In folder")
        self.assertEqual(self.google.drive("GET", f"files/{inside}", who=CAT).status, 200)

    def test_the_trash_is_no_removal_and_deletion_is(self) -> None:
        file = self.google.id_of("Shared")
        token = self.google.start_token(BOB)
        self.google.drive("PATCH", f"files/{file}", body={"trashed": True})
        seen, token = self.google.changes(token, BOB)
        self.assertEqual(seen, [("Shared", False)])
        self.google.drive("DELETE", f"files/{file}")
        self.assertEqual(self.google.changes(token, BOB)[0], [(file, True)])
        self.assertEqual(self.google.changes(token, CAT)[0], [])
        # From before it was deleted, too: the log still works, and has no trace for strangers.
        self.assertNotIn(file, [name for name, _ in self.google.changes("1", CAT)[0]])

    def test_a_file_shared_by_link_is_in_the_log_of_those_who_opened_it(self) -> None:
        token = self.google.start_token(CAT)
        self.rename("Linked", "Linked anew")
        self.assertEqual(self.google.changes(token, CAT)[0], [])
        body = {"email": CAT, "file": self.google.id_of("Linked anew"), "noisy": False}
        self.google.ask("POST", "/sandbox/view", body=body, who=None)
        self.assertEqual(self.google.changes(token, CAT)[0], [("Linked anew", False)])

    def test_a_view_moves_the_version_and_only_the_viewers_log(self) -> None:
        file = self.google.id_of("Shared")
        tokens = {who: self.google.start_token(who) for who in (ANN, BOB)}
        before = self.google.drive("GET", f"files/{file}", fields="version,modifiedTime").json
        self.google.advance(5)
        for noisy in (False, True):
            body = {"email": BOB, "file": file, "noisy": noisy}
            self.assertEqual(self.google.ask("POST", "/sandbox/view", body=body, who=None).status, 200)
            heard = [name for name, _ in self.google.changes(tokens[BOB], BOB)[0]]
            self.assertEqual(heard, ["Shared"] if noisy else [])
        after = self.google.drive("GET", f"files/{file}", fields="version,modifiedTime").json
        self.assertEqual(int(after["version"]), int(before["version"]) + 2)
        self.assertEqual(after["modifiedTime"], before["modifiedTime"])
        self.assertEqual(self.google.changes(tokens[ANN]), ([], tokens[ANN]))

    def test_an_own_entry_newer_than_everybodys_is_told_once(self) -> None:
        token = self.google.start_token(BOB)
        self.rename("Shared", "Seen")
        body = {"email": BOB, "file": self.google.id_of("Seen")}
        self.google.ask("POST", "/sandbox/view", body=body, who=None)
        seen, token = self.google.changes(token, BOB)
        self.assertEqual(seen, [("Seen", False)])
        self.assertEqual(self.google.changes(token, BOB), ([], token))

    def test_a_star_is_nobody_elses_business(self) -> None:
        file = self.google.id_of("Shared")
        tokens = {who: self.google.start_token(who) for who in (ANN, BOB)}
        self.google.drive("PATCH", f"files/{file}", who=BOB, body={"starred": True})
        self.assertEqual(self.google.changes(tokens[BOB], BOB)[0], [("Shared", False)])
        self.assertEqual(self.google.changes(tokens[ANN])[0], [])

    def test_bad_tokens(self) -> None:
        far = str(int(self.google.start_token()) + 1000)
        for token in ("nonsense", "0", "-1", "1.5", "٣", "9" * 5000, far):
            refused = self.google.drive("GET", "changes", pageToken=token)
            self.assertEqual(refused.reason, "400 invalid", token[:20])
            self.assertNotIn("status", refused.json["error"])
        self.assertEqual(self.google.drive("GET", "changes").reason, "400 required")


class SharedDriveTests(Tests):
    """Logs of shared drives, and what of them is in people's own."""

    def setUp(self) -> None:
        super().setUp()
        self.drive_id = next(iter(self.google.sandbox.world.drives))

    def feed(self, token: str, who: str) -> list[tuple[str, bool]]:
        return self.google.changes(
            token, who, driveId=self.drive_id, supportsAllDrives=True, includeItemsFromAllDrives=True
        )[0]

    def drives_token(self, who: str = BOB) -> str:
        of_drive = {"driveId": self.drive_id, "supportsAllDrives": True}
        return str(
            self.google.drive("GET", "changes/startPageToken", who=who, **of_drive).json["startPageToken"]
        )

    def test_tokens_are_of_one_corpus(self) -> None:
        own, drives = self.google.start_token(BOB), self.drives_token()
        self.assertNotEqual(own, drives)
        of_drive = {"driveId": self.drive_id, "supportsAllDrives": True}
        for token, more in ((own, of_drive), (drives, {})):
            refused = self.google.drive("GET", "changes", who=BOB, pageToken=token, **more)
            self.assertEqual(refused.reason, "400 invalid")
        self.assertEqual(self.feed(drives, BOB), [])

    def test_what_moves_into_a_shared_drive_leaves_its_owners_log(self) -> None:
        token, file = self.google.start_token(), self.google.id_of("Private")
        token = self.google.start_token(BOB)
        moved = self.google.drive(
            "PATCH",
            f"files/{file}",
            who=BOB,
            addParents=self.drive_id,
            supportsAllDrives=True,
        )
        self.assertEqual(moved.status, 200, moved.body)
        page = {"pageToken": token, "fields": "changes(removed,file/name)"}
        plain = self.google.drive("GET", "changes", who=BOB, **page).json["changes"]
        asked = self.google.drive("GET", "changes", who=BOB, includeCorpusRemovals=True, **page).json[
            "changes"
        ]
        self.assertEqual([entry["removed"] for entry in plain], [True])
        self.assertEqual(asked, [{"removed": True, "file": {"name": "Private"}}])

    def test_the_drives_own_log(self) -> None:
        token = self.drives_token()
        self.edit("Of the team", "two")
        self.rename("Shared", "Elsewhere")
        self.assertEqual(self.feed(token, BOB), [("Of the team", False)])
        refused = self.google.drive(
            "GET", "changes", who=CAT, pageToken=token, driveId=self.drive_id, supportsAllDrives=True
        )
        self.assertEqual(refused.reason, "403 teamDriveMembershipRequired")

    def test_a_members_log_has_what_they_used_and_only_on_request(self) -> None:
        token = self.google.start_token(BOB)
        self.edit("Of the team", "two")
        both = {"includeItemsFromAllDrives": True, "supportsAllDrives": True}
        self.assertEqual(self.google.changes(token, BOB, **both)[0], [])
        self.edit("Of the team", "three", who=BOB)
        self.assertEqual(self.google.changes(token, BOB, **both)[0], [("Of the team", False)])
        self.assertEqual(self.google.changes(token, BOB)[0], [])

    def test_joining_and_leaving_are_entries_about_the_drive(self) -> None:
        token = self.google.start_token(CAT)
        body = {"type": "user", "role": "reader", "emailAddress": CAT}
        path = f"files/{self.drive_id}/permissions"
        both = {"includeItemsFromAllDrives": True, "supportsAllDrives": True}
        self.assertEqual(self.google.drive("POST", path, body=body, supportsAllDrives=True).status, 200)
        seen, token = self.google.changes(token, CAT, **both)
        self.assertEqual(seen, [(self.drive_id, False)])
        path += "/" + self.permission_of(CAT)
        self.assertEqual(self.google.drive("DELETE", path, supportsAllDrives=True).status, 204)
        self.assertEqual(self.google.changes(token, CAT, **both)[0], [(self.drive_id, True)])

    def test_what_is_taken_out_of_a_drive_is_gone_from_its_log(self) -> None:
        file, own = self.google.id_of("Of the team"), self.google.sandbox.world.roots[ANN]
        asked = {"driveId": self.drive_id, "supportsAllDrives": True}
        token = self.google.drive("GET", "changes/startPageToken", **asked).json["startPageToken"]
        places = {"addParents": own, "removeParents": self.drive_id, "supportsAllDrives": True}
        moved = self.google.drive("PATCH", f"files/{file}", body={}, **places)
        self.assertEqual(moved.status, 200, moved.body)
        self.assertEqual(self.feed(token, BOB), [(file, True)])

    def test_deletions_are_in_the_drives_log(self) -> None:
        file = self.google.id_of("Of the team")
        token = self.drives_token()
        self.assertEqual(self.google.drive("DELETE", f"files/{file}", supportsAllDrives=True).status, 204)
        self.assertEqual(self.feed(token, BOB), [(file, True)])
