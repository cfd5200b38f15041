"""Whether a file could be in a listing: never no where the sandbox, which knows, says yes."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from docsession.belonging import FOLDER, could_hold, query_of
from docsession.google.feed import FILE_FIELDS
from docsession.sandbox import masks, query
from docsession.sandbox.records import View
from docsession.sandbox.resources import Viewer
from docsession.sandbox.show_file import show_file
from tests.unit.sandbox_driver import ANN, BOB, Driver

PDF = "application/pdf"
FILE: dict[str, Any] = {
    "id": "f",
    "name": "It's a Plan_for 2027",
    "mimeType": PDF,
    "parents": ["X"],
    "trashed": False,
    "starred": True,
    "spaces": ["drive"],
    "driveId": "",
}


class Terms(SynchronousTestCase):
    def could(self, q: str | None = None, *, but: dict[str, Any] | None = None, **params: Any) -> bool:
        params |= {} if q is None else {"q": q}
        return could_hold(query_of(params), FILE | (but or {}))

    def test_what_is_true_of_it(self) -> None:
        for q in (
            "",
            "'X' in parents",
            "trashed=false",
            " trashed  !=  true ",
            "starred = true and trashed = false",
            "mimeType = 'application/pdf'",
            "mimeType != 'application/json'",
            r"name = 'It\'s a Plan_for 2027'",
            r"name = 'it\'s a  plan_for 2027'",
            "name contains 'plan'",
            "name contains '2027 it'",
            "name contains '\"for 2027\"'",
            "name != 'Another'",
        ):
            self.assertTrue(self.could(q), q)

    def test_what_is_not(self) -> None:
        for q in (
            "'Y' in parents",
            "trashed = true",
            "trashed != false",
            "starred=false",
            "mimeType = 'application/json'",
            "mimeType != 'application/pdf'",
            "mimeType contains 'json'",
            "name = 'Plan'",
            "name contains 'plane'",
            r"name != 'It\'s a Plan_for 2027'",
            "trashed=false and 'Y' in parents",
            "(fullText contains 'a' or name = 'b') and trashed = true",
            "properties has { key='a' and value='b' } and trashed = true",
            "modifiedTime > '2026-01-01T00:00:00' AND trashed = true",
        ):
            self.assertFalse(self.could(q), q)

    def test_what_only_google_can_say(self) -> None:
        for q in (
            "trashed = true or name = 'b'",
            "trashed = true and name = 'b' OR starred = false",
            "not trashed = false",
            "not starred = true and trashed = true",
            "(trashed = true)",
            "'root' in parents",
            "'me' in owners",
            "fullText contains 'nothing'",
            "modifiedTime > '2099-01-01T00:00:00'",
            "visibility = 'anyoneCanFind'",
            r"name = 'C:\temp'",
            "name = 'unclosed",
            "trashed = true)",
            "name contains 'Übersicht'",
            "name = 'Übersicht'",
            "trashed = maybe",
            "trashed = 'true'",
            "trashed",
            "name > 'z'",
            "'Y' in",
            "; trashed = true",
            " and ".join(["trashed = true"] * 51),
        ):
            self.assertTrue(self.could(q), q)

    def test_of_what_is_not_known_nothing_is_said(self) -> None:
        for q in (
            "'Y' in parents",
            "trashed = true",
            "starred = false",
            "mimeType = 'a/b'",
            "mimeType != 'a/b'",
            "name = 'Plan'",
            "name contains 'plane'",
        ):
            self.assertTrue(could_hold(query_of({"q": q}), {"id": "f"}), q)

    def test_a_name_beyond_ascii_is_googles_to_compare(self) -> None:
        for q in ("name = 'Overview'", "name contains 'overview'"):
            self.assertTrue(self.could(q, but={"name": "Übersicht"}))

    def test_a_word_within_quotes_joins_nothing(self) -> None:
        self.assertFalse(self.could("name contains 'this or that' and trashed = true"))
        self.assertFalse(self.could(r"name = 'a\' or \'b' and trashed = true"))

    def test_spaces(self) -> None:
        self.assertFalse(self.could(spaces="appDataFolder"))
        self.assertTrue(self.could(spaces="appDataFolder, drive"))
        self.assertTrue(could_hold(query_of({"spaces": "appDataFolder"}), {"id": "f"}))

    def test_corpora(self) -> None:
        team = {"driveId": "team"}
        everywhere: dict[str, Any] = {"corpora": "allDrives", "includeItemsFromAllDrives": True}
        self.assertFalse(self.could(but=team))
        self.assertTrue(self.could(but=team, includeItemsFromAllDrives=True))
        self.assertTrue(self.could(but=team, **everywhere))
        one = everywhere | {"corpora": "drive", "driveId": "team"}
        self.assertTrue(self.could(but=team, **one))
        self.assertFalse(self.could(**one))
        self.assertFalse(self.could(but={"driveId": "other"}, **one))
        self.assertTrue(could_hold(query_of(one), {"id": "f"}))

    def test_the_folders_that_it_asks_after(self) -> None:
        asked = query_of({"q": "'X' in parents and trashed=false and 'Y' in parents"})
        self.assertEqual(asked.parents, {"X", "Y"})
        self.assertEqual(query_of({"q": "'X' in parents or 'Y' in parents"}).parents, set())


# -- against the sandbox's evaluator, which sees everything

NAMES = st.one_of(
    st.sampled_from(["Plan", "plan b"]),
    st.sampled_from(
        ["Plan", "plan b", "It's", "a\\b", "Über plan", "PLAN_2027", " two  blanks ", "", "'", "ΑΣ", "İx"]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8),
)
TYPES = st.sampled_from([PDF, "text/plain", FOLDER, "TEXT/Plain"])


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def terms(parents: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    flag = st.sampled_from(["true", "false"])
    equal = st.sampled_from(["=", "!=", " = ", " != "])
    return st.one_of(
        st.builds("{} in parents".format, parents.map(quoted)),
        st.builds("trashed{}{}".format, equal, flag),
        st.builds("starred{}{}".format, equal, flag),
        st.builds("mimeType{}{}".format, equal, TYPES.map(quoted)),
        st.builds("mimeType contains {}".format, st.sampled_from(["'app'", "'/p'", "'text/'"])),
        st.builds("name{}{}".format, equal, NAMES.map(quoted)),
        st.builds("name contains {}".format, NAMES.map(quoted)),
        st.builds("fullText contains {}".format, NAMES.map(quoted)),
        st.sampled_from(["'me' in owners", "modifiedTime > '2026-01-01'", "sharedWithMe = true"]),
    )


def queries(parents: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    one = terms(parents)
    part = st.one_of(one, one, st.builds("not {}".format, one), st.builds("({} or {})".format, one, one))
    further = st.tuples(st.sampled_from([" and ", " and ", " or "]), part).map("".join)
    return st.builds(lambda first, rest: first + "".join(rest), part, st.lists(further, max_size=3))


class AgainstTheSandbox(SynchronousTestCase):
    def setUp(self) -> None:
        files: list[dict[str, Any]] = [{"name": "X", "type": "folder", "owner": ANN}]
        files.append({"name": "Y", "type": "folder", "owner": BOB})
        files.append({"name": "f", "owner": ANN, "shared": {BOB: "reader"}, "text": "one"})
        self.google = Driver({"files": files})
        self.world = self.google.sandbox.world
        self.file_id = self.google.id_of("f")
        self.folders = [self.google.id_of("X"), self.google.id_of("Y"), self.world.roots[ANN]]

    @settings(max_examples=300, deadline=None)
    @given(st.data(), NAMES, TYPES, st.booleans(), st.booleans(), st.sampled_from([ANN, BOB]))
    def test_what_it_shows_could_be_there(
        self, data: Any, name: str, mime_type: str, trashed: bool, starred: bool, who: str
    ) -> None:
        file, person = self.world.files[self.file_id], self.world.people[who]
        file.name, file.mime_type, file.trashed = name, mime_type, trashed
        file.parent = data.draw(st.sampled_from(self.folders))
        file.views.setdefault(who, View()).starred = starred
        shown = show_file(file, Viewer(self.world, person), masks.parse(FILE_FIELDS))
        q = data.draw(queries(st.sampled_from([*self.folders, "root", "other"])))
        if query.parse(q).matches(query.Seen(self.world, file, person)):
            self.assertTrue(could_hold(query_of({"q": q}), shown), q)
