"""Whether a file could belong to a listing: never a no where Google would say yes."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from docsession.belonging import could_hold
from docsession.sandbox import query as google
from docsession.sandbox.errors import DriveError
from docsession.sandbox.masks import EVERYTHING
from docsession.sandbox.records import FOLDER, File
from docsession.sandbox.resources import Viewer
from docsession.sandbox.show_file import show_file
from docsession.sandbox.world import World

FILE = {
    "name": "Ann's plan",
    "mimeType": "text/plain",
    "parents": ["folder"],
    "trashed": False,
    "starred": True,
}

NAMES = ("Plan", "plan b", "Ann's plan", "Ünïcode", "a\\b", "x")
TYPES = ("text/plain", FOLDER, "application/vnd.google-apps.document")


def quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


texts = st.sampled_from([*NAMES, "PLAN", "pl", "an", "s p", ""]).map(quoted)
terms = st.one_of(
    st.sampled_from(["'folder' in parents", "'other' in parents", "'root' in parents"]),
    st.builds(
        "{} {} {}".format,
        st.sampled_from(["trashed", "starred"]),
        st.sampled_from(["=", "!="]),
        st.sampled_from(["true", "false"]),
    ),
    st.builds(
        "mimeType {} {}".format, st.sampled_from(["=", "!=", "contains"]), st.sampled_from(TYPES).map(quoted)
    ),
    st.builds("name {} {}".format, st.sampled_from(["=", "!=", "contains"]), texts),
    st.builds("fullText contains {}".format, texts),
    st.just("modifiedTime > '2020-01-01T00:00:00'"),
    st.just("'ann@example.com' in owners"),
)
queries = st.recursive(
    terms,
    lambda inner: st.one_of(
        st.builds("{} and {}".format, inner, inner),
        st.builds("{} or {}".format, inner, inner),
        st.builds("not {}".format, inner),
        st.builds("({})".format, inner),
    ),
    max_leaves=5,
)


class BelongingTests(SynchronousTestCase):
    def test_what_cannot_be_in_it(self) -> None:
        for query in (
            "'elsewhere' in parents",
            "trashed = true",
            "trashed != false",
            "starred = false",
            "mimeType = 'image/png'",
            "mimeType != 'text/plain'",
            "name = 'Other'",
            "name contains 'budget'",
            "'folder' in parents and trashed = true",
            "trashed=false and 'elsewhere' in parents and fullText contains 'x'",
        ):
            self.assertFalse(could_hold(query, FILE), query)

    def test_what_could(self) -> None:
        for query in (
            "",
            "'folder' in parents",
            "'root' in parents",
            "trashed = false",
            "name = 'ANN\\'S PLAN'",
            "name contains 'pla'",
            "name contains 'other words'",
            "name != 'Ann\\'s plan'",
            "mimeType = 'image/png' or trashed = false",
            "not trashed = false",
            "(trashed = true)",
            "fullText contains 'x'",
            "nonsense ~ 5",
            "'unfinished",
        ):
            self.assertTrue(could_hold(query, FILE), query)

    def test_what_is_not_known_counts_as_fulfilled(self) -> None:
        for query in ("'x' in parents", "trashed = true", "starred = true", "mimeType = 'a/b'", "name = 'x'"):
            self.assertTrue(could_hold(query, {}), query)

    @settings(max_examples=300, deadline=None)
    @given(
        query=queries,
        name=st.sampled_from(NAMES),
        mime_type=st.sampled_from(TYPES),
        trashed=st.booleans(),
        starred=st.booleans(),
        in_folder=st.booleans(),
    )
    def test_never_a_no_where_google_says_yes(
        self, query: str, name: str, mime_type: str, trashed: bool, starred: bool, in_folder: bool
    ) -> None:
        world = World(Clock(), Random(1), base_url="http://127.0.0.1")
        ann = world.add_person("ann@example.com", "Ann")
        root = world.files[world.roots[ann.email]]
        now = world.now()
        folder = File("folder", "Folder", FOLDER, now, now, ann.email, parent=root.id)
        file = File("file", name, mime_type, now, now, ann.email, parent="folder" if in_folder else root.id)
        for each in (folder, file):
            each.permissions = dict(root.permissions)
            world.insert(each)
        file.trashed = trashed
        world.view(file, ann).starred = starred
        try:
            matches = google.parse(query).matches(google.Seen(world, file, ann))
        except DriveError:
            return
        shown: dict[str, Any] = show_file(file, Viewer(world, ann, "app"), EVERYTHING)
        if matches:
            self.assertTrue(could_hold(query, shown), (query, shown))
