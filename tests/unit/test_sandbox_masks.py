"""The ``fields`` language."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from docsession.sandbox import masks
from docsession.sandbox.errors import DriveError
from tests.unit.sandbox_driver import Driver

FILE = {
    "id": "1",
    "name": "Plan",
    "owners": [{"displayName": "Ann", "me": True}, {"displayName": "Bob", "me": False}],
    "capabilities": {"canEdit": True, "canComment": True},
}


class SelectTests(SynchronousTestCase):
    def select(self, text: str) -> object:
        return masks.select({"files": [FILE], "kind": "k"}, masks.parse(text))

    def test_slash_and_parentheses_say_the_same(self) -> None:
        wanted = {"files": [{"id": "1", "owners": [{"me": True}, {"me": False}]}]}
        self.assertEqual(self.select("files(id,owners/me)"), wanted)
        self.assertEqual(self.select("files/id,files/owners(me)"), wanted)
        self.assertEqual(self.select(" files( id , owners/me ) "), wanted)

    def test_star_is_everything(self) -> None:
        self.assertEqual(self.select("*"), {"files": [FILE], "kind": "k"})
        self.assertEqual(self.select("files(*)"), {"files": [FILE]})
        self.assertEqual(
            self.select("files/capabilities/*"), {"files": [{"capabilities": FILE["capabilities"]}]}
        )

    def test_the_whole_wins_over_a_part(self) -> None:
        for text in ("files/id,files", "files,files/id", "*,files/id"):
            self.assertEqual(self.select(text)["files"], [FILE])  # type: ignore[index]

    def test_empty_mask_leaves_nothing(self) -> None:
        self.assertEqual(self.select(""), {})


class RememberedTests(SynchronousTestCase):
    """Masks are parsed once; nothing of one answer may get into the next."""

    def test_for_each_shape_apart(self) -> None:
        self.assertEqual(masks.checked("kind,files/id", "@FileList"), {"kind": None, "files": {"id": None}})
        self.assertRaises(DriveError, masks.checked, "kind,files/id", "@File")
        self.assertEqual(masks.checked("kind,files/id", ""), {"kind": None, "files": {"id": None}})

    def test_a_refusal_every_time(self) -> None:
        for _ in range(2):
            self.assertRaises(DriveError, masks.checked, "files(", "@FileList")

    def test_selecting_leaves_them_alone(self) -> None:
        text = "*,files(owners/me,*),files/capabilities/canEdit"
        value = {"files": [FILE], "kind": "k"}
        first = masks.select(value, masks.checked(text, ""))
        self.assertEqual(masks.select(value, masks.checked(text, "")), first)
        self.assertEqual(masks.checked(text, ""), masks.parse(text))

    def test_a_long_one_is_not_kept(self) -> None:
        text = ",".join(["kind"] * 2000)
        self.assertEqual(masks.checked(text, "@File"), {"kind": None})
        self.assertIsNot(masks.checked(text, "@File"), masks.checked(text, "@File"))


class RefusalTests(SynchronousTestCase):
    def refusal(self, text: str) -> DriveError:
        with self.assertRaises(DriveError) as caught:
            masks.check(masks.parse(text), "@FileList")
        return caught.exception

    def test_unknown_fields_are_named(self) -> None:
        refusal = self.refusal("files(id,idd)")
        self.assertEqual((refusal.status, refusal.reason), (400, "invalidParameter"))
        error = refusal.body["error"]["errors"][0]
        self.assertEqual(error["message"], "Invalid field selection files/idd")
        self.assertEqual((error["location"], error["locationType"]), ("fields", "parameter"))

    def test_what_is_no_mask(self) -> None:
        for text in (
            "files(id",
            "files)",
            "(id)",
            ",kind",
            "kind,",
            "files//id",
            "a b",
            "files.id",
            "kind/id",
        ):
            self.assertEqual(self.refusal(text).reason, "invalidParameter", text)
        self.assertEqual(self.refusal("files(" * 1000).status, 400)
        self.assertEqual(self.refusal("*,bogus").status, 400)

    def test_any_key_of_a_map_will_do(self) -> None:
        masks.check(masks.parse("files(properties/anything,exportLinks)"), "@FileList")

    @given(st.text(alphabet="abkind,/()* ", max_size=30))
    def test_parse_refuses_or_understands(self, text: str) -> None:
        try:
            mask = masks.parse(text)
        except DriveError:
            return
        masks.select({"a": {"b": [1]}, "kind": 2}, mask)


class DefaultTests(SynchronousTestCase):
    """Which fields come without asking, and where one must ask."""

    def setUp(self) -> None:
        self.google = Driver()

    def test_defaults(self) -> None:
        plan = self.google.id_of("Autumn plan")
        self.assertEqual(
            set(self.google.drive("GET", f"files/{plan}").json), {"kind", "id", "name", "mimeType"}
        )
        page = self.google.drive("GET", "files").json
        self.assertEqual(set(page["files"][0]), {"kind", "id", "name", "mimeType"})

    def test_mandatory_on_about_comments_and_replies(self) -> None:
        plan = self.google.id_of("Autumn plan")
        for path in ("about", f"files/{plan}/comments", f"files/{plan}/comments/x/replies"):
            refused = self.google.drive("GET", path)
            self.assertEqual(refused.reason, "400 required")
            self.assertEqual(
                refused.json["error"]["message"], "The 'fields' parameter is required for this method."
            )

    def test_an_empty_mask_is_answered_with_nothing(self) -> None:
        self.assertEqual(self.google.drive("GET", "files", fields="").json, {})
