"""The ``q`` search language, ``orderBy`` and pages."""

from __future__ import annotations

from typing import Any, ClassVar

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from docsession.sandbox import query
from docsession.sandbox.errors import DriveError
from tests.unit.sandbox_driver import ANN, BOB, Driver

SEED: dict[str, Any] = {
    "files": [
        {"name": "HelloWorld", "type": "folder", "owner": ANN, "modified": "2026-01-01T00:00:00Z"},
        {
            "name": "It's 10% off",
            "owner": ANN,
            "folder": "HelloWorld",
            "text": "the quick brown fox",
            "modified": "2026-02-01T00:00:00Z",
        },
        {
            "name": "a10.png",
            "type": "image/png",
            "owner": BOB,
            "shared": {ANN: "reader"},
            "text": "xyz",
            "starred_by": [ANN],
            "modified": "2026-03-01T00:00:00Z",
        },
        {
            "name": "a9.png",
            "type": "image/png",
            "owner": ANN,
            "text": "x",
            "modified": "2026-04-01T12:00:00Z",
        },
        {"name": "Gone", "owner": ANN, "trashed": True, "modified": "2026-05-01T00:00:00Z"},
        {"name": "Bob's own", "owner": BOB, "modified": "2026-06-01T00:00:00Z"},
    ]
}


class SearchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.google = Driver(SEED)

    def find(self, q: str, **more: Any) -> list[str]:
        answer = self.google.drive("GET", "files", q=q, fields="files/name", **more)
        self.assertEqual(answer.status, 200, answer.body)
        return [file["name"] for file in answer.json["files"]]

    def refused(self, **more: Any) -> tuple[str, str]:
        answer = self.google.drive("GET", "files", **more)
        return answer.reason, answer.json["error"]["errors"][0].get("location", "")

    TERMS: ClassVar[list[tuple[str, set[str]]]] = [
        ("name = 'a9.png'", {"a9.png"}),
        ("name != 'a9.png' and mimeType = 'image/png'", {"a10.png"}),
        ("name contains 'hello'", {"HelloWorld"}),
        ("name contains 'World'", set()),
        (r"name = 'It\'s 10% off'", {"It's 10% off"}),
        ("fullText contains 'brown'", {"It's 10% off"}),
        ("fullText contains '\"quick brown\"'", {"It's 10% off"}),
        ("fullText contains '\"brown quick\"'", set()),
        ("mimeType contains 'image/'", {"a10.png", "a9.png"}),
        ("modifiedTime > '2026-04-01T12:00:00'", {"Gone"}),
        ("modifiedTime >= '2026-04-01T14:00:00+02:00'", {"a9.png", "Gone"}),
        ("createdTime < '2026-01-15'", {"HelloWorld"}),
        ("trashed = true", {"Gone"}),
        ("trashed != false", {"Gone"}),
        ("starred = true", {"a10.png"}),
        ("sharedWithMe", set()),
        ("sharedWithMe = true", {"a10.png"}),
        ("'me' in owners and trashed = false and mimeType contains 'image'", {"a9.png"}),
        ("'bob@example.com' in owners", {"a10.png"}),
        ("'bob@example.com' in readers", {"a10.png"}),
        ("'nobody@example.com' in readers", set()),
        ("visibility = 'limited' and starred = true", {"a10.png"}),
        ("not mimeType contains 'image' and trashed = false", {"HelloWorld", "It's 10% off"}),
        ("not (mimeType contains 'image' or trashed = true)", {"HelloWorld", "It's 10% off"}),
        # And and or weigh the same, from left to right.
        ("trashed = true or name = 'a9.png' and name = 'a9.png'", {"a9.png"}),
        ("trashed = true or (name = 'a9.png' and name = 'a9.png')", {"a9.png", "Gone"}),
        ("properties has {key='k' and value='v'}", set()),
    ]

    def test_terms(self) -> None:
        for q, names in self.TERMS:
            if q == "sharedWithMe":
                self.assertEqual(self.refused(q=q), ("400 invalid", "q"))
            else:
                self.assertEqual(set(self.find(q)), names, q)

    def test_parents(self) -> None:
        folder = self.google.id_of("HelloWorld")
        self.assertEqual(self.find(f"'{folder}' in parents"), ["It's 10% off"])
        self.assertEqual(set(self.find("'root' in parents")), {"HelloWorld", "a9.png", "Gone"})

    def test_properties(self) -> None:
        file = self.google.id_of("a9.png")
        self.google.drive("PATCH", f"files/{file}", body={"properties": {"k'": "v"}})
        self.assertEqual(self.find(r"properties has {key='k\'' and value='v'}"), ["a9.png"])

    def test_everything_without_a_query_also_what_is_in_the_trash(self) -> None:
        self.assertIn("Gone", self.find(""))
        self.assertNotIn("Bob's own", self.find(""))

    def test_what_is_not_understood(self) -> None:
        for q in (
            "name",
            "name = ",
            "name = a",
            "name = 'a",
            "name ~ 'a'",
            "name < 'a'",
            "bogus = 'a'",
            "trashed = 'true'",
            "(name = 'a'",
            "name = 'a')",
            "name = 'a' name = 'b'",
            "name = 'a' and",
            "modifiedTime > 'yesterday'",
            "'x' in bogus",
            "properties has {key='k'}",
            "(" * 500 + "name = 'a'" + ")" * 500,
            "not " * 500 + "name = 'a'",
        ):
            self.assertEqual(self.refused(q=q), ("400 invalid", "q"), q[:60])

    @given(st.text(alphabet="name=' andort()\\xQ{}<", max_size=40))
    def test_parse_refuses_or_understands(self, text: str) -> None:
        try:
            query.parse(text)
        except DriveError as refusal:
            self.assertEqual(refusal.status, 400)

    def test_order(self) -> None:
        images = "mimeType contains 'image'"
        self.assertEqual(self.find(images, orderBy="name"), ["a10.png", "a9.png"])
        self.assertEqual(self.find(images, orderBy="name_natural"), ["a9.png", "a10.png"])
        self.assertEqual(self.find(images, orderBy="modifiedTime desc"), ["a9.png", "a10.png"])
        self.assertEqual(self.find("trashed=false", orderBy="folder,modifiedTime desc,name")[0], "HelloWorld")
        self.assertEqual(self.find(images, orderBy="quotaBytesUsed desc"), ["a10.png", "a9.png"])
        self.assertEqual(self.refused(orderBy="size"), ("400 invalid", "orderBy"))
        self.assertEqual(self.refused(orderBy="name upwards"), ("400 invalid", "orderBy"))
        self.assertEqual(
            self.refused(orderBy="name", q="fullText contains 'a'"), ("400 badRequest", "orderBy")
        )


class PageTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.google = Driver({"files": [{"name": f"f{n:02d}", "owner": ANN} for n in range(25)]})

    def page(self, **more: Any) -> tuple[list[str], str | None]:
        answer = self.google.drive("GET", "files", orderBy="name", fields="nextPageToken,files/name", **more)
        self.assertEqual(answer.status, 200, answer.body)
        return [file["name"] for file in answer.json["files"]], answer.json.get("nextPageToken")

    def test_pages_hold_everything_once(self) -> None:
        names, token = self.page(pageSize=10)
        while token:
            more, token = self.page(pageSize=10, pageToken=token)
            names += more
        self.assertEqual(names, [f"f{n:02d}" for n in range(25)])

    def test_a_file_that_goes_between_two_pages_hides_no_other(self) -> None:
        _, token = self.page(pageSize=10)
        self.google.drive("DELETE", f"files/{self.google.id_of('f03')}")
        names, _ = self.page(pageSize=10, pageToken=token)
        self.assertEqual(names[0], "f10")

    def test_a_token_of_something_else_is_refused(self) -> None:
        _, token = self.page(pageSize=10)
        for wrong, more in (("nonsense", {}), (token, {"q": "trashed = false"}), ("é", {})):
            refused = self.google.drive("GET", "files", pageToken=wrong, orderBy="name", **more)
            self.assertEqual(refused.reason, "400 invalid")
            self.assertEqual(refused.json["error"]["errors"][0]["location"], "pageToken")

    def test_sizes_out_of_range_are_refused(self) -> None:
        for size in (0, 1001, "many"):
            self.assertEqual(self.google.drive("GET", "files", pageSize=size).reason, "400 invalidParameter")
