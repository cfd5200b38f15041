"""Files, permissions, comments and revisions, as people meet them; and the world as it is kept."""

from __future__ import annotations

import json
import shutil
import tempfile
from hashlib import md5
from pathlib import Path
from typing import Any

import msgspec
from treq.testing import RequestTraversalAgent
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from docsession.sandbox.app import Sandbox, StateError
from tests.unit.sandbox_driver import ANN, BASE, BOB, CAT, Driver

SEED: dict[str, Any] = {
    "drives": [{"name": "Team", "members": {ANN: "organizer", BOB: "writer"}}],
    "files": [
        {"name": "Folder", "type": "folder", "owner": ANN, "shared": {BOB: "writer"}},
        {"name": "Plan", "owner": ANN, "folder": "Folder", "text": "one", "shared": {CAT: "commenter"}},
        {"name": "Private", "owner": ANN, "text": "mine"},
        {"name": "data.bin", "type": "application/octet-stream", "owner": ANN, "text": "0123456789"},
        {"name": "Figures", "type": "spreadsheet", "owner": ANN, "text": 'a,b\n1,"2,3"\n'},
        {"name": "Read me", "owner": ANN, "shared": {BOB: "reader"}},
        {"name": "Of the team", "owner": ANN, "folder": "Team", "text": "one"},
    ],
}


class Tests(SynchronousTestCase):
    def setUp(self) -> None:
        self.google = Driver(SEED)
        self.plan = self.google.id_of("Plan")

    def get(self, name: str, fields: str = "*", **more: Any) -> dict[str, Any]:
        answer = self.google.drive("GET", f"files/{self.google.id_of(name)}", fields=fields, **more)
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json  # type: ignore[no-any-return]


class AccessTests(Tests):
    def test_what_may_not_be_seen_is_not_found(self) -> None:
        private = self.google.id_of("Private")
        for path in (f"files/{private}", "files/nothing"):
            refused = self.google.drive("GET", path, who=BOB)
            self.assertEqual(refused.reason, "404 notFound")
            self.assertEqual(refused.json["error"]["errors"][0]["location"], "fileId")

    def test_a_folder_shares_what_is_in_it(self) -> None:
        self.assertEqual(
            self.google.drive("PATCH", f"files/{self.plan}", who=BOB, body={"name": "B"}).status, 200
        )
        capabilities = self.get("B", "capabilities", who=BOB)["capabilities"]
        self.assertTrue(capabilities["canEdit"])
        self.assertFalse(capabilities["canDelete"])

    def test_who_owns_a_folder_does_not_own_what_others_put_there(self) -> None:
        folder = self.google.id_of("Folder")
        made = self.google.drive("POST", "files", who=BOB, body={"name": "Bob's", "parents": [folder]}).json[
            "id"
        ]
        renamed = self.google.drive(
            "PATCH", f"files/{made}", body={"description": "seen"}, fields="ownedByMe"
        )
        self.assertEqual((renamed.status, renamed.json), (200, {"ownedByMe": False}))
        refused = self.google.drive("DELETE", f"files/{made}")
        self.assertEqual(refused.reason, "403 insufficientFilePermissions")

    def test_roles(self) -> None:
        """Who may do what with the plan: Ann owns, Bob writes, Cat comments."""

        def tried(who: str) -> list[int]:
            comment = self.google.drive(
                "POST", f"files/{self.plan}/comments", who=who, body={"content": "?"}, fields="id"
            )
            rename = self.google.drive("PATCH", f"files/{self.plan}", who=who, body={"description": who})
            revisions = self.google.drive("GET", f"files/{self.plan}/revisions", who=who)
            trash = self.google.drive("PATCH", f"files/{self.plan}", who=who, body={"trashed": True})
            delete = self.google.drive("DELETE", f"files/{self.plan}", who=who)
            return [each.status for each in (comment, rename, revisions, trash, delete)]

        self.assertEqual(tried(CAT), [200, 403, 403, 403, 403])
        self.assertEqual(tried(BOB), [200, 200, 200, 403, 403])
        self.assertEqual(tried(ANN), [200, 200, 200, 200, 204])
        refused = self.google.drive(
            "PATCH", f"files/{self.google.id_of('Read me')}", who=BOB, body={"name": "x"}
        )
        self.assertEqual(refused.reason, "403 insufficientFilePermissions")

    def test_files_of_shared_drives_are_for_those_who_say_they_know_them(self) -> None:
        file = self.google.id_of("Of the team")
        self.assertEqual(self.google.drive("GET", f"files/{file}", who=BOB).reason, "404 notFound")
        self.assertEqual(
            self.google.drive("GET", f"files/{file}", who=BOB, supportsAllDrives=True).status, 200
        )
        # A method that has no such parameter does not ask for it.
        self.assertEqual(
            self.google.drive("GET", f"files/{file}/comments", who=BOB, fields="comments").status, 200
        )

    def test_root_is_everybodys_own(self) -> None:
        roots = {self.google.drive("GET", "files/root", who=who).json["id"] for who in (ANN, BOB, CAT)}
        self.assertEqual(len(roots), 3)

    def test_no_token_bad_token_small_token(self) -> None:
        self.assertEqual(self.google.drive("GET", "files", who=None).reason, "403 forbidden")
        refused = self.google.drive("GET", "files", token="ya29.nonsense")
        self.assertEqual(refused.reason, "401 authError")
        self.assertEqual(refused.json["error"]["status"], "UNAUTHENTICATED")
        self.assertIn("invalid_token", refused.headers["www-authenticate"])
        read_only = self.google.token(ANN, "drive.readonly")
        refused = self.google.drive("PATCH", f"files/{self.plan}", token=read_only, body={"name": "x"})
        self.assertEqual(refused.reason, "403 insufficientPermissions")
        self.assertEqual(refused.json["error"]["details"][0]["reason"], "ACCESS_TOKEN_SCOPE_INSUFFICIENT")
        metadata = self.google.token(ANN, "drive.metadata.readonly")
        data = self.google.id_of("data.bin")
        self.assertEqual(self.google.drive("GET", f"files/{data}", token=metadata).status, 200)
        self.assertEqual(self.google.drive("GET", f"files/{data}", token=metadata, alt="media").status, 403)

    def test_drive_file_shows_an_app_what_it_made(self) -> None:
        token = self.google.token(ANN, "drive.file", "app")
        made = self.google.drive("POST", "files", token=token, body={"name": "Mine"}).json["id"]
        listed = self.google.drive("GET", "files", token=token).json["files"]
        self.assertEqual([file["id"] for file in listed], [made])
        self.assertEqual(self.google.drive("GET", f"files/{self.plan}", token=token).status, 404)
        refused = self.google.drive("PATCH", f"files/{self.plan}", token=token, body={"name": "x"})
        self.assertEqual(refused.reason, "403 appNotAuthorizedToFile")
        other = self.google.token(ANN, "drive.file", "other app")
        self.assertEqual(self.google.drive("GET", f"files/{made}", token=other).status, 404)


class FileTests(Tests):
    def test_an_edit_moves_what_it_should(self) -> None:
        before = self.get("data.bin")
        self.google.advance(60)
        body = {"email": ANN, "file": before["id"], "text": "other"}
        self.assertEqual(self.google.ask("POST", "/sandbox/edit", body=body, who=None).status, 200)
        after = self.get("data.bin")
        self.assertEqual(after["md5Checksum"], md5(b"other").hexdigest())
        self.assertEqual((before["size"], after["size"]), ("10", "5"))
        for name in ("version", "modifiedTime"):
            self.assertGreater(after[name], before[name])
        self.assertNotEqual(after["headRevisionId"], before["headRevisionId"])
        revisions = self.google.drive("GET", f"files/{before['id']}/revisions").json["revisions"]
        self.assertEqual(
            [each["id"] for each in revisions], [before["headRevisionId"], after["headRevisionId"]]
        )

    def test_editor_files_have_no_checksums(self) -> None:
        shown = self.get("Plan")
        for name in ("md5Checksum", "headRevisionId", "webContentLink", "fileExtension"):
            self.assertNotIn(name, shown)
        self.assertEqual(shown["size"], "3")
        self.assertNotIn("size", self.get("Folder"))

    def test_one_persons_view_is_not_anothers(self) -> None:
        self.google.drive("PATCH", f"files/{self.plan}", who=CAT, body={"starred": True})
        self.assertTrue(self.get("Plan", "starred", who=CAT)["starred"])
        self.assertFalse(self.get("Plan", "starred")["starred"])
        self.assertNotIn("parents", self.get("Plan", who=CAT))
        self.assertNotIn("permissions", self.get("Plan", who=CAT))
        self.assertEqual(len(self.get("Plan", who=BOB)["permissions"]), 3)

    def test_create_move_copy_trash_untrash(self) -> None:
        folder = self.google.id_of("Folder")
        body = {"name": "New", "mimeType": "application/vnd.google-apps.document", "parents": [folder]}
        made = self.google.drive("POST", "files", who=BOB, body=body, fields="*").json
        self.assertEqual((made["parents"], made["owners"][0]["emailAddress"]), ([folder], BOB))
        moved = self.google.drive(
            "PATCH", f"files/{made['id']}", who=BOB, addParents="root", removeParents=folder, fields="parents"
        )
        root = self.google.drive("GET", "files/root", who=BOB).json["id"]
        self.assertEqual(moved.json["parents"], [root])
        self.assertEqual(self.google.drive("GET", f"files/{made['id']}").status, 404)
        copy = self.google.drive("POST", f"files/{self.plan}/copy", who=CAT, body={}, fields="*").json
        self.assertEqual((copy["name"], copy["ownedByMe"]), ("Copy of Plan", True))
        self.google.drive("PATCH", f"files/{folder}", body={"trashed": True})
        inside = self.get("Plan", "trashed,explicitlyTrashed")
        self.assertEqual(inside, {"trashed": True, "explicitlyTrashed": False})
        self.google.drive("PATCH", f"files/{folder}", body={"trashed": False})
        self.assertFalse(self.get("Plan", "trashed")["trashed"])

    def test_what_comes_into_a_shared_drive_belongs_to_it(self) -> None:
        private, team = self.google.id_of("Private"), next(iter(self.google.sandbox.world.drives))
        move = {"supportsAllDrives": True, "fields": "owners,driveId,parents"}
        inside = self.google.drive("PATCH", f"files/{private}", addParents=team, **move).json
        self.assertEqual(inside, {"driveId": team, "parents": [team]})
        seen = self.google.drive("GET", f"files/{private}", who=BOB, supportsAllDrives=True)
        self.assertEqual(seen.status, 200)
        refused = self.google.drive("PATCH", f"files/{private}", who=BOB, addParents="root", **move)
        self.assertEqual(refused.reason, "403 insufficientFilePermissions")
        outside = self.google.drive("PATCH", f"files/{private}", addParents="root", **move).json
        self.assertEqual(outside["owners"][0]["emailAddress"], ANN)
        self.assertNotIn("driveId", outside)

    def test_a_folder_cannot_go_into_itself(self) -> None:
        folder = self.google.id_of("Folder")
        inner = self.google.drive(
            "POST", "files", body={"mimeType": "application/vnd.google-apps.folder", "parents": [folder]}
        ).json["id"]
        for target in (folder, inner):
            self.assertEqual(self.google.drive("PATCH", f"files/{folder}", addParents=target).status, 400)

    def test_emptying_the_trash(self) -> None:
        self.google.drive("PATCH", f"files/{self.google.id_of('Folder')}", body={"trashed": True})
        self.assertEqual(self.google.drive("DELETE", "files/trash", who=BOB).status, 204)
        self.assertEqual(self.get("Plan", "name")["name"], "Plan")
        self.assertEqual(self.google.drive("DELETE", "files/trash").status, 204)
        self.assertEqual(self.google.drive("GET", f"files/{self.plan}").status, 404)

    def test_generated_ids_are_good_once(self) -> None:
        (wanted,) = self.google.drive("GET", "files/generateIds", count=1).json["ids"]
        body = {"id": wanted, "name": "x", "mimeType": "text/plain"}
        self.assertEqual(self.google.drive("POST", "files", body=body).json["id"], wanted)
        self.assertEqual(self.google.drive("POST", "files", body=body).reason, "409 fileIdInUse")

    def test_bodies_that_are_wrong(self) -> None:
        path = f"files/{self.plan}"
        for body, reason in (
            (b"{", "400 parseError"),
            (b"[]", "400 parseError"),
            (b"[" * 5000, "400 parseError"),
            ({"name": 5}, "400 badRequest"),
            ({"properties": {"a": [1]}}, "400 badRequest"),
            ({"version": "7"}, "403 fieldNotWritable"),
            ({"parents": ["x"]}, "403 fieldNotWritable"),
            ({"modifiedTime": "yesterday"}, "400 invalid"),
        ):
            self.assertEqual(self.google.drive("PATCH", path, body=body).reason, reason)
        named = self.google.drive("PATCH", path, body={"name": 5}).json["error"]
        self.assertEqual(named["status"], "INVALID_ARGUMENT")
        self.assertEqual(named["details"][0]["fieldViolations"][0]["field"], "name")
        self.assertEqual(
            self.google.drive("GET", path, supportsAllDrives="yes").reason, "400 invalidParameter"
        )
        self.assertEqual(self.get("Plan", "version")["version"], "2")

    def test_a_post_may_stand_for_another_verb(self) -> None:
        path = f"files/{self.plan}"
        headers = {"X-HTTP-Method-Override": "PATCH"}
        self.assertEqual(
            self.google.drive("POST", path, headers=headers, body={"name": "N"}).json["name"], "N"
        )


class BytesTests(Tests):
    def media(self, name: str, range_header: str = "") -> tuple[int, bytes, str | None]:
        answer = self.google.drive(
            "GET", f"files/{self.google.id_of(name)}", alt="media", headers={"Range": range_header}
        )
        return answer.status, answer.body, answer.headers.get("content-range")

    def test_ranges(self) -> None:
        self.assertEqual(self.media("data.bin"), (200, b"0123456789", None))
        for header, body, said in (
            ("bytes=2-4", b"234", "bytes 2-4/10"),
            ("bytes=7-", b"789", "bytes 7-9/10"),
            ("bytes=-3", b"789", "bytes 7-9/10"),
            ("bytes=8-100", b"89", "bytes 8-9/10"),
            ("bytes=-100", b"0123456789", "bytes 0-9/10"),
        ):
            self.assertEqual(self.media("data.bin", header), (206, body, said))
        for header in ("bytes=10-", "bytes=100-200", "bytes=-0"):
            status, _, said = self.media("data.bin", header)
            self.assertEqual((status, said), (416, "bytes */10"), header)
        for header in ("bytes=4-2", "bytes=-", "bytes=1-2,4-5", "lines=1-2"):
            self.assertEqual(self.media("data.bin", header)[0], 200, header)

    def test_exports(self) -> None:
        def export(name: str, mime_type: str) -> Any:
            return self.google.drive("GET", f"files/{self.google.id_of(name)}/export", mimeType=mime_type)

        self.assertEqual(export("Plan", "text/plain").body, b"\xef\xbb\xbfone")
        self.assertEqual(export("Plan", "text/markdown").body, b"one")
        self.assertTrue(export("Plan", "application/pdf").body.startswith(b"%PDF-"))
        self.assertTrue(export("Plan", "application/zip").body.startswith(b"PK"))
        self.assertEqual(export("Figures", "text/csv").body, b'a,b\r\n1,"2,3"\r\n')
        self.assertEqual(export("Figures", "text/tab-separated-values").body, b"a\tb\r\n1\t2,3\r\n")
        self.assertEqual(export("Figures", "text/plain").reason, "400 badRequest")
        self.assertEqual(export("data.bin", "text/plain").reason, "403 fileNotExportable")
        refused = self.google.drive("GET", f"files/{self.plan}", alt="media")
        self.assertEqual(refused.reason, "403 fileNotDownloadable")
        self.assertEqual(refused.json["error"]["errors"][0]["location"], "alt")

    def test_downloads_cost_more(self) -> None:
        self.media("data.bin")
        self.get("data.bin")
        spent = self.google.ask("GET", "/sandbox/calls", who=None).json["by_method"]["drive.files.get"]
        self.assertEqual(spent, {"calls": 2, "units": 205})

    def headers(self, path: str, accept: str) -> dict[str, str]:
        # Not through treq, which unpacks, and hides that it did.
        agent = RequestTraversalAgent(self.google.sandbox.resource())
        sent = Headers({"Authorization": [f"Bearer {self.google.token(ANN)}"], "Accept-Encoding": [accept]})
        asked = agent.request(b"GET", f"{BASE}/drive/v3/{path}".encode(), sent)
        agent.flush()
        response = self.successResultOf(asked)
        return {
            name.decode().lower(): values[0].decode() for name, values in response.headers.getAllRawHeaders()
        }

    def test_gzip_where_it_is_wanted(self) -> None:
        self.assertEqual(self.headers("files", "deflate, gzip")["content-encoding"], "gzip")
        plain = self.headers("files", "identity")
        self.assertNotIn("content-encoding", plain)
        self.assertNotIn("etag", plain)
        self.assertEqual(plain["content-type"], "application/json; charset=UTF-8")
        media = self.headers(f"files/{self.google.id_of('data.bin')}?alt=media", "gzip")
        self.assertNotIn("content-encoding", media)

    def test_indented_unless_told_not_to(self) -> None:
        self.assertIn(b"\n", self.google.drive("GET", "files").body)
        self.assertNotIn(b"\n", self.google.drive("GET", "files", prettyPrint=False).body)


class CommentTests(Tests):
    def setUp(self) -> None:
        super().setUp()
        self.path = f"files/{self.plan}/comments"

    def comment(self, text: str = "Why?", who: str = CAT) -> str:
        made = self.google.drive("POST", self.path, who=who, body={"content": text}, fields="*")
        self.assertEqual(made.status, 200, made.body)
        return str(made.json["id"])

    def list(self, **more: Any) -> list[dict[str, Any]]:
        return self.google.drive("GET", self.path, fields="comments", **more).json["comments"]  # type: ignore[no-any-return]

    def test_a_thread(self) -> None:
        version = int(self.get("Plan", "version")["version"])
        comment = self.comment("a < b\nc")
        reply = f"{self.path}/{comment}/replies"
        refused = self.google.drive("POST", reply, who=BOB, body={}, fields="id")
        self.assertEqual(refused.reason, "400 required")
        self.google.advance(1)
        done = self.google.drive("POST", reply, who=BOB, body={"action": "resolve"}, fields="*").json
        (shown,) = self.list()
        self.assertEqual(shown["htmlContent"], "a &lt; b<br>c")
        self.assertEqual(shown["author"]["displayName"], "Cat Carter")
        self.assertNotIn("emailAddress", shown["author"])
        self.assertTrue(shown["resolved"])
        self.assertEqual(shown["replies"], [done | {"author": {**done["author"], "me": False}}])
        self.assertEqual(shown["modifiedTime"], done["createdTime"])
        self.google.drive("POST", reply, who=CAT, body={"action": "reopen", "content": "no"}, fields="id")
        self.assertFalse(self.list()[0]["resolved"])
        self.assertEqual(int(self.get("Plan", "version")["version"]), version + 3)
        self.assertEqual(self.get("Plan", "modifiedTime"), self.get("Plan", "modifiedTime", who=BOB))

    def test_deleted_comments_leave_a_mark_for_those_who_ask(self) -> None:
        comment = self.comment()
        self.google.advance(10)
        self.assertEqual(self.google.drive("DELETE", f"{self.path}/{comment}", who=CAT).status, 204)
        self.assertEqual(self.list(), [])
        (mark,) = self.list(includeDeleted=True)
        self.assertTrue(mark["deleted"])
        self.assertNotIn("content", mark)
        self.assertGreater(mark["modifiedTime"], mark["createdTime"])
        self.assertEqual(
            self.google.drive("GET", f"{self.path}/{comment}", fields="id").reason, "404 notFound"
        )

    def test_modified_since_includes_the_moment_itself(self) -> None:
        self.comment("first")
        self.google.advance(10)
        self.comment("second")
        newest = self.list()[0]
        self.assertEqual(newest["content"], "second")
        self.assertEqual(len(self.list(startModifiedTime=newest["modifiedTime"])), 1)
        self.google.advance(1)
        self.google.drive(
            "PATCH", f"{self.path}/{self.list()[1]['id']}", who=CAT, body={"content": "1st"}, fields="id"
        )
        found = self.list(startModifiedTime=newest["modifiedTime"])
        self.assertEqual({each["content"] for each in found}, {"second", "1st"})
        self.assertEqual(
            self.google.drive("GET", self.path, fields="*", startModifiedTime="").reason, "400 invalid"
        )

    def test_others_words_are_theirs(self) -> None:
        comment = self.comment(who=ANN)
        path = f"{self.path}/{comment}"
        self.assertEqual(
            self.google.drive("PATCH", path, who=BOB, body={"content": "x"}, fields="id").status, 403
        )
        self.assertEqual(self.google.drive("DELETE", path, who=CAT).status, 403)
        resolve = self.google.drive(
            "POST", f"{path}/replies", who=CAT, body={"action": "resolve"}, fields="id"
        )
        self.assertEqual(resolve.status, 403)
        self.assertEqual(self.google.drive("DELETE", path, who=BOB).status, 204)

    def test_pages(self) -> None:
        made = [self.comment(str(n)) for n in range(7)]
        page = self.google.drive("GET", self.path, fields="*", pageSize=5).json
        rest = self.google.drive(
            "GET", self.path, fields="*", pageSize=5, pageToken=page["nextPageToken"]
        ).json
        self.assertEqual([each["id"] for each in page["comments"] + rest["comments"]], made[::-1])


class PermissionTests(Tests):
    def share(self, body: dict[str, Any], who: str = ANN, **more: Any) -> Any:
        return self.google.drive(
            "POST", f"files/{self.google.id_of('Private')}/permissions", who=who, body=body, **more
        )

    def test_sharing_and_taking_back(self) -> None:
        shared = self.share({"type": "user", "role": "reader", "emailAddress": BOB}, fields="*").json
        self.assertEqual((shared["emailAddress"], shared["role"]), (BOB, "reader"))
        mine = self.get("Private", "sharedWithMeTime,sharingUser/emailAddress,ownedByMe", who=BOB)
        self.assertEqual(mine["sharingUser"]["emailAddress"], ANN)
        path = f"files/{self.google.id_of('Private')}/permissions/{shared['id']}"
        self.assertEqual(self.google.drive("PATCH", path, body={"role": "writer"}).json["role"], "writer")
        self.assertEqual(self.google.drive("DELETE", path, who=BOB).status, 204)
        self.assertEqual(
            self.google.drive("GET", f"files/{self.google.id_of('Private')}", who=BOB).status, 404
        )

    def test_anyone_with_the_link(self) -> None:
        self.assertEqual(self.share({"type": "anyone", "role": "reader"}).json["id"], "anyoneWithLink")
        private = self.google.id_of("Private")
        self.assertEqual(self.google.drive("GET", f"files/{private}", who=CAT).status, 200)
        listed = self.google.drive("GET", "files", who=CAT).json["files"]
        self.assertNotIn(private, [file["id"] for file in listed])

    def test_a_new_owner(self) -> None:
        body = {"type": "user", "role": "owner", "emailAddress": BOB}
        refused = self.share(body)
        self.assertEqual(
            (refused.reason, refused.json["error"]["errors"][0]["location"]),
            ("403 forbidden", "transferOwnership"),
        )
        self.assertEqual(self.share(body, transferOwnership=True).status, 200)
        self.assertEqual(self.get("Private", "owners")["owners"][0]["emailAddress"], BOB)
        self.assertTrue(self.get("Private", "capabilities")["capabilities"]["canEdit"])

    def test_an_inherited_permission_is_changed_where_it_is_from(self) -> None:
        listed = self.google.drive("GET", f"files/{self.plan}/permissions", fields="*").json["permissions"]
        (bobs,) = [each for each in listed if each["emailAddress"] == BOB]
        self.assertEqual(bobs["permissionDetails"][0]["inheritedFrom"], self.google.id_of("Folder"))
        path = f"files/{self.plan}/permissions/{bobs['id']}"
        self.assertEqual(self.google.drive("DELETE", path).reason, "403 cannotModifyInheritedPermission")

    def test_permissions_end_at_their_time(self) -> None:
        ends = "2026-11-18T12:00:00Z"
        self.share({"type": "user", "role": "reader", "emailAddress": BOB, "expirationTime": ends})
        private = f"files/{self.google.id_of('Private')}"
        self.assertEqual(self.google.drive("GET", private, who=BOB).status, 200)
        self.google.advance(86400)
        self.assertEqual(self.google.drive("GET", private, who=BOB).status, 404)

    def test_refusals(self) -> None:
        for body, reason in (
            ({"type": "user", "emailAddress": BOB}, "400 required"),
            ({"role": "reader", "emailAddress": BOB}, "400 invalid"),
            ({"type": "user", "role": "king", "emailAddress": BOB}, "400 invalid"),
            ({"type": "user", "role": "reader"}, "400 required"),
            (
                {"type": "user", "role": "reader", "emailAddress": "x@example.com"},
                "400 invalidSharingRequest",
            ),
            ({"type": "user", "role": "organizer", "emailAddress": BOB}, "403 invalidSharingRequest"),
        ):
            self.assertEqual(self.share(body).reason, reason, body)
        self.assertEqual(self.share({"type": "anyone", "role": "reader"}, who=BOB).reason, "404 notFound")


class KeepingTests(Tests):
    def test_a_world_comes_back_as_it_was(self) -> None:
        self.google.drive("POST", f"files/{self.plan}/comments", body={"content": "?"}, fields="id")
        token, start = self.google.token(ANN), self.google.start_token()
        kept = self.google.ask("GET", "/sandbox/world", who=None).json
        before = self.get("Plan")
        self.google.drive("DELETE", f"files/{self.google.id_of('Folder')}")
        put = self.google.ask("PUT", "/sandbox/world", who=None, body=kept)
        self.assertEqual(put.status, 200, put.body)
        self.assertEqual(self.get("Plan", token=token), before)
        self.assertEqual(self.google.start_token(), start)
        self.assertEqual(self.google.ask("GET", "/sandbox/world", who=None).json["files"], kept["files"])

    def test_a_seed_can_be_put(self) -> None:
        seed = {"people": [{"email": "zoe@example.com", "name": "Zoe Zander"}], "files": [{"name": "Only"}]}
        put = self.google.ask("PUT", "/sandbox/world", who=None, body=seed)
        self.assertEqual(put.json, {"people": 1, "files": 2})
        listed = self.google.drive("GET", "files", who="zoe@example.com").json["files"]
        self.assertEqual([file["name"] for file in listed], ["Only"])

    def test_a_bad_world_changes_nothing(self) -> None:
        before = self.google.ask("GET", "/sandbox/world", who=None).json
        for bad in (
            {"people": []} | {"bogus": 1},
            {**before, "files": [{"id": 1}]},
            {**before, "grants": {"codes": 5}},
            {**before, "log": None},
            {"files": [{"name": "x", "owner": "nobody@example.com"}]},
            {"files": [{"name": "x", "folder": "nowhere"}]},
            {"files": [{"name": "x", "shared": {BOB: "king"}}]},
            {**before, "files": [each | {"parent": each["id"]} for each in before["files"]]},
            {**before, "roots": {ANN: "nowhere"}},
        ):
            self.assertEqual(self.google.ask("PUT", "/sandbox/world", who=None, body=bad).status, 400)
            self.assertEqual(self.google.ask("GET", "/sandbox/world", who=None).json, before)

    def test_the_same_seed_gives_the_same_ids(self) -> None:
        again = Driver(SEED)
        self.assertEqual(list(again.sandbox.world.files), list(self.google.sandbox.world.files))
        self.assertEqual(again.sandbox.world.people, self.google.sandbox.world.people)

    def kept(self) -> Driver:
        directory = Path(tempfile.mkdtemp(prefix="docsession-test-"))
        self.addCleanup(shutil.rmtree, directory)
        self.path = directory / "world.json"
        google = Driver(SEED, state_path=self.path)
        google.sandbox.start()
        return google

    def test_an_answered_write_is_in_the_file(self) -> None:
        google = self.kept()
        token = google.token(ANN)
        google.drive("PATCH", f"files/{self.plan}", token=token, body={"name": "Kept"})
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
        again = Sandbox(google.clock, base_url=BASE, state_path=self.path)
        again.start()
        self.assertEqual(again.world.files[self.plan].name, "Kept")
        access = again.grants.lookup(token)
        assert access is not None
        self.assertEqual(access.email, ANN)

    def test_reads_write_nothing(self) -> None:
        google = self.kept()
        token = google.token(ANN)
        self.path.unlink()
        for path in ("files", f"files/{self.plan}", "changes/startPageToken"):
            self.assertEqual(google.drive("GET", path, token=token).status, 200)
        self.assertFalse(self.path.exists())

    def test_a_damaged_file_is_said_and_kept(self) -> None:
        google = self.kept()
        for damage in (b"{", b"[]", b'{"roots": {}}', json.dumps({"files": [{"nom": "x"}]}).encode()):
            self.path.write_bytes(damage)
            again = Sandbox(google.clock, base_url=BASE, state_path=self.path)
            self.assertRaises(StateError, again.start)
            self.assertEqual(self.path.read_bytes(), damage)

    def test_two_hundred_people_and_two_thousand_files(self) -> None:
        people = [{"email": f"p{n}@example.com"} for n in range(200)]
        files = [
            {
                "name": f"f{n}",
                "owner": f"p{n % 200}@example.com",
                "shared": {f"p{(n * 7 + k) % 200}@example.com": "writer" for k in range(1, 12)},
            }
            for n in range(2000)
        ]
        google = Driver({"people": people, "files": files})
        page = google.drive("GET", "files", who="p3@example.com", pageSize=1000).json
        expected = {n for n in range(2000) if n % 200 == 3 or 3 in {(n * 7 + k) % 200 for k in range(1, 12)}}
        self.assertEqual({file["name"] for file in page["files"]}, {f"f{n}" for n in expected})
        self.assertEqual(len(msgspec.json.decode(msgspec.json.encode(google.sandbox.dump()))["files"]), 2200)


class DoorTests(Tests):
    """Who may knock at all."""

    def test_foreign_hosts_and_origins(self) -> None:
        for path, headers, status in (
            ("/sandbox/calls", {"Host": "evil.example"}, 403),
            ("/drive/v3/files", {"Host": "evil.example:8766"}, 403),
            ("/sandbox/calls", {"Origin": "http://evil.example"}, 403),
            ("/sandbox/calls", {"Origin": "null"}, 403),
            ("/sandbox/calls", {"Origin": "http://127.0.0.1:8765"}, 403),
            ("/sandbox/calls", {"Origin": BASE}, 200),
            ("/sandbox/calls", {"Host": "localhost:8766"}, 200),
            ("/sandbox/calls", {"Host": "localhost:8766", "Origin": "http://localhost:8766"}, 200),
            ("/sandbox/calls", {"Host": "localhost:8766", "Origin": "http://localhost:8765"}, 403),
            ("/sandbox/calls", {}, 200),
        ):
            answer = self.google.ask("GET", path, who=None, headers=headers)
            self.assertEqual(answer.status, status, headers)

    def test_unknown_paths(self) -> None:
        self.assertEqual(self.google.drive("GET", "bogus").reason, "404 notFound")
        self.assertEqual(self.google.drive("PUT", "files").reason, "404 notFound")
        self.assertEqual(self.google.ask("GET", "/drive/v2/files").reason, "404 notFound")
        self.assertEqual(self.google.ask("GET", "/upload/drive/v3/files").reason, "404 notFound")
        self.assertEqual(self.google.ask("GET", "/batch/drive/v3").reason, "404 notFound")
        for verb, path, status in (("GET", "/sandbox/bogus", 404), ("PUT", "/sandbox/calls", 405)):
            answer = self.google.ask(verb, path, who=None)
            self.assertEqual((answer.status, set(answer.json["error"])), (status, {"name", "message"}))

    def test_control_bodies_are_read_strictly(self) -> None:
        for path, body in (
            ("token", {"email": ANN, "scope": "drive"}),
            ("token", {}),
            ("grants", {"email": ANN, "do": "explode"}),
            ("edit", {"email": ANN, "file": self.plan}),
            ("edit", b"{"),
        ):
            answer = self.google.ask("POST", f"/sandbox/{path}", who=None, body=body)
            self.assertEqual((answer.status, answer.json["error"]["name"]), (400, "bad_request"))

    def test_nobody_edits_what_they_may_only_read(self) -> None:
        read_me, private = self.google.id_of("Read me"), self.google.id_of("Private")
        for file, status in ((read_me, 403), (private, 404), ("nothing", 404)):
            body = {"email": BOB, "file": file, "text": "x"}
            self.assertEqual(self.google.ask("POST", "/sandbox/edit", who=None, body=body).status, status)
        self.assertEqual(self.google.sandbox.world.files[read_me].content, b"")
        folder = {"email": ANN, "file": self.google.id_of("Folder"), "text": "x"}
        self.assertEqual(self.google.ask("POST", "/sandbox/edit", who=None, body=folder).status, 400)

    def test_tokens_and_grants(self) -> None:
        made = self.google.ask(
            "POST", "/sandbox/token", who=None, body={"email": BOB, "scopes": ["drive.readonly"]}
        )
        token = made.json["access_token"]
        self.assertEqual(self.google.drive("GET", "files", token=token).status, 200)
        done = self.google.ask(
            "POST", "/sandbox/grants", who=None, body={"email": BOB, "do": "expire_access"}
        )
        self.assertEqual((done.status, done.json), (200, {}))
        self.assertEqual(self.google.drive("GET", "files", token=token).status, 401)
        unknown = self.google.ask("POST", "/sandbox/token", who=None, body={"email": "x@example.com"})
        self.assertEqual(unknown.status, 404)

    def test_how_long_refresh_tokens_live(self) -> None:
        grants = self.google.sandbox.grants
        for seconds in (604_800, None):
            body = {"seconds": seconds}
            answer = self.google.ask("PUT", "/sandbox/grants/lifetime", who=None, body=body)
            self.assertEqual((answer.status, grants.refresh_lifetime), (200, seconds))
        refused = self.google.ask("PUT", "/sandbox/grants/lifetime", who=None, body={"seconds": 0})
        self.assertEqual((refused.status, grants.refresh_lifetime), (400, None))

    def test_overview(self) -> None:
        self.google.drive("GET", "files")
        shown = self.google.ask("GET", "/sandbox/overview", who=None).json
        (plan,) = [file for file in shown["files"] if file["id"] == self.plan]
        self.assertEqual(plan["roles"], {ANN: "owner", BOB: "writer", CAT: "commenter"})
        self.assertEqual(plan["text"], "one")
        self.assertEqual(
            (shown["calls"][0]["method"], shown["calls"][0]["status"]), ("drive.files.list", 200)
        )
