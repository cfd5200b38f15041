"""Uploads: at once, with metadata, and in pieces."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from twisted.trial.unittest import SynchronousTestCase

from tests.unit.sandbox_driver import ANN, BASE, BOB, CAT, Driver, Reply

PIECE = 256 * 1024
DOCUMENT = "application/vnd.google-apps.document"
BOTH = (
    b"--xyz\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n%s\r\n"
    b"--xyz\r\nContent-Type: %s\r\n\r\n%s\r\n--xyz--\r\n"
)


class Tests(SynchronousTestCase):
    def setUp(self) -> None:
        self.google = Driver()
        self.picture = self.google.id_of("Logo.svg")
        self.plan = self.google.id_of("Autumn plan")

    def send(
        self, verb: str, path: str, kind: str, body: bytes, content_type: str = "", **more: Any
    ) -> Reply:
        headers = dict(more.pop("headers", {}))
        who = more.pop("who", ANN)
        if content_type:
            headers["Content-Type"] = content_type
        return self.google.ask(
            verb,
            f"/upload/drive/v3/{path}",
            who=who,
            body=body,
            headers=headers,
            query={"uploadType": kind, "fields": "*", **more},
        )

    def content(self, file_id: str) -> bytes:
        return self.google.sandbox.world.files[file_id].content

    def multipart(self, verb: str, path: str, metadata: object, content: bytes, **more: Any) -> Reply:
        kind = more.pop("kind", b"image/gif")
        body = BOTH % (json.dumps(metadata).encode(), kind, content)
        return self.send(verb, path, "multipart", body, "multipart/related; boundary=xyz", **more)


class AtOnceTests(Tests):
    def test_bytes_alone(self) -> None:
        made = self.send("POST", "files", "media", b"GIF89a", "image/gif")
        self.assertEqual(made.status, 200, made.body)
        self.assertEqual((made.json["name"], made.json["mimeType"]), ("Untitled", "image/gif"))
        self.assertEqual(made.json["size"], "6")
        self.assertEqual(self.content(made.json["id"]), b"GIF89a")

    def test_bytes_of_a_file_there_is(self) -> None:
        before = self.google.drive("GET", f"files/{self.picture}", fields="*").json
        token = self.google.start_token()
        made = self.send("PATCH", f"files/{self.picture}", "media", b"other", "image/png")
        self.assertEqual(made.status, 200, made.body)
        self.assertEqual(self.content(self.picture), b"other")
        self.assertNotEqual(made.json["headRevisionId"], before["headRevisionId"])
        self.assertGreater(int(made.json["version"]), int(before["version"]))
        self.assertEqual(self.google.changes(token)[0], [("Logo.svg", False)])
        self.send("PATCH", f"files/{self.picture}", "media", b"text", "text/plain; charset=utf-8")
        self.assertEqual(self.google.sandbox.world.files[self.picture].mime_type, "text/plain")

    def test_with_metadata(self) -> None:
        made = self.multipart("POST", "files", {"name": "A.gif", "description": "Small"}, b"GIF89a\r\n\0")
        self.assertEqual(made.status, 200, made.body)
        self.assertEqual((made.json["name"], made.json["description"]), ("A.gif", "Small"))
        self.assertEqual(
            (made.json["mimeType"], self.content(made.json["id"])), ("image/gif", b"GIF89a\r\n\0")
        )
        again = self.multipart("PATCH", f"files/{made.json['id']}", {"name": "B.gif"}, b"GIF87a")
        self.assertEqual((again.json["name"], self.content(made.json["id"])), ("B.gif", b"GIF87a"))
        self.assertEqual(self.multipart("POST", "files", {"mimeType": "a/b"}, b"").json["mimeType"], "a/b")

    def test_text_becomes_a_document(self) -> None:
        text = "\ufeffHello\nthere ü".encode()
        made = self.multipart("POST", "files", {"name": "D", "mimeType": DOCUMENT}, text, kind=b"text/plain")
        self.assertEqual((made.status, made.json["mimeType"]), (200, DOCUMENT))
        self.assertEqual(self.content(made.json["id"]), "Hello\nthere ü".encode())
        refused = self.multipart("POST", "files", {"mimeType": DOCUMENT}, b"GIF89a")
        self.assertEqual(refused.reason, "400 badRequest")
        made = self.send("PATCH", f"files/{self.plan}", "media", b"New plan", "text/markdown")
        self.assertEqual((made.status, made.json["mimeType"]), (200, DOCUMENT))
        self.assertEqual(self.content(self.plan), b"New plan")

    def test_what_is_refused_changes_nothing(self) -> None:
        before = self.google.sandbox.world.to_json()
        refused = self.multipart("PATCH", f"files/{self.plan}", {"trashed": True, "name": "x"}, b"GIF")
        self.assertEqual(refused.reason, "400 badRequest")
        folder = {"mimeType": "application/vnd.google-apps.folder"}
        self.assertEqual(self.multipart("POST", "files", folder, b"x").reason, "400 badRequest")
        self.assertEqual(self.send("PATCH", f"files/{self.plan}", "media", b"x", "a/b").status, 400)
        self.assertEqual(self.google.sandbox.world.to_json(), before)

    def test_a_lag_of_editors_is_not_one_of_uploads(self) -> None:
        self.google.ask("PUT", "/sandbox/habits", who=None, body={"editor_lag": 60})
        self.send("PATCH", f"files/{self.plan}", "media", b"At once", "text/plain")
        self.assertEqual(self.content(self.plan), b"At once")

    def test_who_may_not(self) -> None:
        for who, status in ((BOB, 200), (CAT, 403)):
            answer = self.send("PATCH", f"files/{self.plan}", "media", b"x", "text/plain", who=who)
            self.assertEqual(answer.status, status, answer.body)
        path = f"/upload/drive/v3/files/{self.plan}?uploadType=media"
        self.assertEqual(self.google.ask("PATCH", path, who=None, body=b"x").status, 403)
        self.assertEqual(self.google.ask("PATCH", path, token="no", body=b"x").status, 401)
        only = self.google.token(ANN, "drive.readonly")
        self.assertEqual(self.google.ask("PATCH", path, token=only, body=b"x").status, 403)

    def test_bad_requests(self) -> None:
        for kind in ("", "carrier pigeon"):
            self.assertEqual(self.send("POST", "files", kind, b"x").reason, "400 invalid")
        related = "multipart/related; boundary=xyz"
        for body, content_type in (
            (b"x", related),
            (b"", related),
            (BOTH % (b"{}", b"a/b", b"x"), "multipart/related"),
            (BOTH % (b"{}", b"a/b", b"x"), "multipart/related; boundary=abc"),
            (b"--xyz\r\n\r\n{}\r\n--xyz--", related),
            (b"--xyz\r\n\r\n{}\r\n--xyz\r\n\r\nx\r\n", related),
            (b"--xyz\r\nnonsense\r\n\r\n{}\r\n--xyz\r\n\r\nx\r\n--xyz--", related),
            (b"--xyz\r\nContent-Type: text/plain\r\n\r\n{}\r\n--xyz\r\n\r\nx\r\n--xyz--", related),
            (b"--xyz\r\n\r\n{}\r\n--xyz\r\nContent-Transfer-Encoding: base64\r\n\r\nx\r\n--xyz--", related),
        ):
            self.assertEqual(
                self.send("POST", "files", "multipart", body, content_type).reason, "400 badContent"
            )
        bad = self.send("POST", "files", "multipart", BOTH % (b"{", b"a/b", b"x"), related)
        self.assertEqual(bad.reason, "400 parseError")

    def test_lines_of_either_kind_and_base64(self) -> None:
        related = "multipart/related; boundary=xyz"
        body = b"--xyz\nContent-Type: application/json\n\n{}\n--xyz\n\nends in CR\r\n--xyz--\n"
        made = self.send("POST", "files", "multipart", body, related)
        self.assertEqual(self.content(made.json["id"]), b"ends in CR\r")
        body = b"before\r\n--xyz\r\n\r\n{}\r\n--xyz\r\nContent-Transfer-Encoding: base64\r\n\r\nR0lG"
        body += b"\r\n--xyz--"
        made = self.send("POST", "files", "multipart", body, related)
        self.assertEqual(self.content(made.json["id"]), b"GIF")

    def test_what_it_costs(self) -> None:
        self.google.ask("DELETE", "/sandbox/calls", who=None)
        self.send("POST", "files", "media", b"x", "a/b")
        told = self.google.ask("GET", "/sandbox/calls", who=None).json
        self.assertEqual(told["by_method"], {"drive.files.create": {"calls": 1, "units": 50}})


class InPiecesTests(Tests):
    def begin(self, path: str = "files", verb: str = "POST", **more: Any) -> Reply:
        metadata = more.pop("metadata", {"name": "Big"})
        headers = {"X-Upload-Content-Type": "video/mp4"} | more.pop("headers", {})
        body = json.dumps(metadata).encode()
        return self.send(verb, path, "resumable", body, "application/json", headers=headers, **more)

    def url(self, **more: Any) -> str:
        begun = self.begin(**more)
        self.assertEqual((begun.status, begun.body), (200, b""))
        self.assertTrue(begun.headers["location"].startswith(BASE + "/upload/drive/v3/files"))
        place = urlsplit(begun.headers["location"])
        self.assertIn(begun.headers["x-guploader-uploadid"], place.query)
        return f"{place.path}?{place.query}"

    def put(
        self, url: str, body: bytes = b"", said: str | None = None, verb: str = "PUT", **more: Any
    ) -> Reply:
        headers = {} if said is None else {"Content-Range": said}
        return self.google.ask(verb, url, body=body, headers=headers, **{"who": None} | more)

    def test_piece_by_piece(self) -> None:
        url = self.url()
        whole = bytes(range(256)) * 2048 + b"the end"
        first = self.put(url, whole[:PIECE], f"bytes 0-{PIECE - 1}/*")
        self.assertEqual((first.status, first.headers["range"]), (308, f"bytes=0-{PIECE - 1}"))
        second = self.put(url, whole[PIECE : 2 * PIECE], f"bytes {PIECE}-{2 * PIECE - 1}/{len(whole)}")
        self.assertEqual((second.status, second.headers["range"]), (308, f"bytes=0-{2 * PIECE - 1}"))
        last = self.put(url, whole[2 * PIECE :], f"bytes {2 * PIECE}-{len(whole) - 1}/{len(whole)}")
        self.assertEqual(last.status, 200, last.body)
        self.assertEqual((last.json["name"], last.json["mimeType"]), ("Big", "video/mp4"))
        self.assertEqual(self.content(last.json["id"]), whole)
        # Whoever lost the answer asks again, and nothing is made twice.
        files = len(self.google.sandbox.world.files)
        for said in (f"bytes */{len(whole)}", f"bytes {2 * PIECE}-{len(whole) - 1}/{len(whole)}"):
            again = self.put(url, b"" if "*" in said else whole[2 * PIECE :], said)
            self.assertEqual((again.status, again.json["id"]), (200, last.json["id"]))
        self.assertEqual(len(self.google.sandbox.world.files), files)

    def test_all_at_once(self) -> None:
        url = self.url(path=f"files/{self.picture}", verb="PATCH", metadata={"name": "New"})
        done = self.put(url, b"bytes")
        self.assertEqual((done.status, done.json["name"]), (200, "New"))
        self.assertEqual(self.content(self.picture), b"bytes")

    def test_nothing_at_all(self) -> None:
        done = self.put(self.url(), b"", "bytes */0")
        self.assertEqual((done.status, done.json["size"]), (200, "0"))

    def test_how_far_it_is(self) -> None:
        url = self.url()
        asked = self.put(url, b"", "bytes */*")
        self.assertEqual(asked.status, 308)
        self.assertNotIn("range", asked.headers)
        self.put(url, b"x" * PIECE, f"bytes 0-{PIECE - 1}/*")
        asked = self.put(url, b"", f"bytes */{2 * PIECE}")
        self.assertEqual((asked.status, asked.headers["range"]), (308, f"bytes=0-{PIECE - 1}"))

    def test_a_piece_that_comes_twice(self) -> None:
        url = self.url()
        for _ in range(2):
            answer = self.put(url, b"x" * PIECE, f"bytes 0-{PIECE - 1}/*")
            self.assertEqual(answer.headers["range"], f"bytes=0-{PIECE - 1}")
        total = PIECE + 3
        done = self.put(url, b"y" * total, f"bytes 0-{total - 1}/{total}")
        self.assertEqual(self.content(done.json["id"]), b"x" * PIECE + b"yyy")

    def test_pieces_that_do_not_fit(self) -> None:
        url = self.url()
        for body, said in (
            (b"x" * PIECE, f"bytes {PIECE}-{2 * PIECE - 1}/*"),
            (b"x" * 10, "bytes 0-9/*"),
            (b"x" * 10, "bytes 0-9/100"),
            (b"x" * 10, "bytes 0-8/10"),
            (b"x" * 10, "bytes 0-9/5"),
            (b"x" * 10, "bytes */10"),
            (b"x" * 10, "0-9/10"),
            (b"x" * 10, "bytes 9-0/10"),
        ):
            self.assertEqual(self.put(self.url(), body, said).reason, "400 invalid", said)
        self.put(url, b"x" * PIECE, f"bytes 0-{PIECE - 1}/{2 * PIECE}")
        self.assertEqual(self.put(url, b"", f"bytes */{3 * PIECE}").reason, "400 invalid")
        self.assertEqual(self.put(url, b"", f"bytes */{10**12}").reason, "400 invalid")
        self.assertEqual(self.put(self.url(), b"", f"bytes */{10**12}").reason, "413 uploadTooLarge")

    def test_a_length_said_before_holds(self) -> None:
        url = self.url(headers={"X-Upload-Content-Length": "5"})
        self.assertEqual(self.put(url, b"123456").reason, "400 invalid")
        self.assertEqual(self.put(url, b"12345").status, 200)
        refused = self.begin(headers={"X-Upload-Content-Length": "five"})
        self.assertEqual(refused.reason, "400 invalid")
        self.assertEqual(self.begin(headers={"X-Upload-Content-Length": "9" * 15}).status, 413)

    def test_who_may_not_begin(self) -> None:
        refused = self.begin(path=f"files/{self.plan}", verb="PATCH", who=CAT)
        self.assertEqual(refused.reason, "403 insufficientFilePermissions")
        self.assertEqual(self.begin(path="files/nothing", verb="PATCH").reason, "404 notFound")

    def test_the_url_is_the_permission(self) -> None:
        url = self.url()
        self.assertEqual(self.put(url, b"x", token="not good").status, 401)
        self.assertEqual(self.put(url, b"x").status, 200)

    def test_an_upload_that_is_given_up(self) -> None:
        url = self.url()
        self.assertEqual(self.put(url, verb="DELETE").status, 499)
        self.assertEqual(self.put(url, b"x").reason, "404 notFound")

    def test_after_a_week_it_is_gone(self) -> None:
        url = self.url()
        self.google.advance(7 * 86_400 - 1)
        self.assertEqual(self.put(url, b"", "bytes */*").status, 308)
        self.google.advance(1)
        self.assertEqual(self.put(url, b"x").reason, "404 notFound")

    def test_there_are_not_ever_more_of_them(self) -> None:
        first = self.url()
        done = self.url()
        self.assertEqual(self.put(done, b"x").status, 200)
        for _ in range(99):
            self.url()
        self.assertEqual(self.put(done, b"x").reason, "404 notFound")
        self.assertEqual(self.put(first, b"", "bytes */*").status, 308)

    def test_a_refusal_at_the_end_can_be_tried_again(self) -> None:
        talk = self.google.id_of("Talk for the shops")
        url = self.url(
            path=f"files/{talk}", verb="PATCH", who=BOB, headers={"X-Upload-Content-Type": "text/plain"}
        )
        bob = self.google.sandbox.world.people[BOB].permission_id
        gone = self.google.drive("DELETE", f"files/{talk}/permissions/{bob}")
        self.assertEqual(gone.status, 204)
        self.assertEqual(self.put(url, b"x").reason, "404 notFound")
        body = {"type": "user", "role": "writer", "emailAddress": BOB}
        self.google.drive("POST", f"files/{talk}/permissions", body=body)
        self.assertEqual(self.put(url, b"", "bytes */1").status, 200)

    def test_faults_and_the_meter_know_of_pieces(self) -> None:
        url = self.url()
        self.google.ask("DELETE", "/sandbox/calls", who=None)
        fault = {"match": {"method": "drive.files.upload", "user": ANN}, "status": 503, "times": 1}
        self.google.ask("PUT", "/sandbox/faults", who=None, body=[fault])
        self.assertEqual(self.put(url, b"x").status, 503)
        self.assertEqual(self.put(url, b"x").status, 200)
        told = self.google.ask("GET", "/sandbox/calls", who=None).json["by_method"]
        self.assertEqual(told, {"drive.files.upload": {"calls": 2, "units": 0}})
