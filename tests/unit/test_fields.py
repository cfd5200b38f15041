"""Field masks: what is one, what it means, and the laws that reading and joining them keep."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from docsession.google.fields import EVERYTHING, BadMask, Mask, parse, render, select, union

# How fast the machine is must not decide whether a law holds.
_quietly = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

_NAMES = st.sampled_from(["a", "b", "c", "files", "nextPageToken", "*"])


def _texts(depth: int = 3) -> st.SearchStrategy[str]:
    name = st.lists(_NAMES, min_size=1, max_size=2).map("/".join)
    if depth == 0:
        return name
    item = name | st.tuples(name, _texts(depth - 1)).map(lambda pair: f"{pair[0]}({pair[1]})")
    return st.lists(item, min_size=1, max_size=3).map(", ".join)


_masks = _texts().map(parse)
_KEYS = st.sampled_from(["a", "b", "c", "files", "other"])


def _objects(depth: int = 3) -> st.SearchStrategy[dict[str, Any]]:
    value: st.SearchStrategy[Any] = st.none() | st.just("text")
    if depth:
        inner = _objects(depth - 1)
        value = value | inner | st.lists(inner | st.just(1), max_size=2)
    return st.dictionaries(_KEYS, value, max_size=3)


class ParseTests(SynchronousTestCase):
    """Reading a mask and writing it."""

    def test_canonical_text(self) -> None:
        """Ways to say the same thing have one text."""
        for text, canonical in {
            "id": "id",
            "name,id": "id,name",
            "nextPageToken, files(id, name)": "files(id,name),nextPageToken",
            "files/id,files/name": "files(id,name)",
            "files(id)": "files/id",
            "a(b/c,b/d)": "a/b(c,d)",
            "a,a(b)": "a",
            "a(*)": "a",
            "a/*/b": "a/*/b",
            "*,a(b)": "*",
            "*": "*",
            " \n*\t": "*",
        }.items():
            self.assertEqual(canonical, render(parse(text)), text)

    def test_refused(self) -> None:
        """What is no mask is refused with the place."""
        for text, where in {
            "": 1,
            " ": 1,
            ",": 1,
            "a,": 3,
            "a,,b": 3,
            "a(": 3,
            "a(b": 4,
            "a()": 3,
            "a)": 2,
            "a(b))": 5,
            "a(b)/c": 5,
            "a(b)c": 5,
            "a b": 2,
            "/a": 1,
            "a/": 3,
            "a//b": 3,
            "a&alt=media": 2,
            "a.b": 2,
            "ä": 1,
            "a\0": 2,
            "(a)": 1,
            "**": 2,
        }.items():
            error = self.assertRaises(BadMask, parse, text)
            self.assertIn(f"at character {where}:", str(error), text)

    def test_dot_hint(self) -> None:
        """Who writes a dot is told of the slash."""
        self.assertIn("written a/b", str(self.assertRaises(BadMask, parse, "files.id")))

    def test_bounds(self) -> None:
        """Depth and length are bounded: a mask from outside must not exhaust anything."""
        parse("a(" * 15 + "a" + ")" * 15)
        self.assertRaises(BadMask, parse, "a(" * 16 + "a" + ")" * 16)
        self.assertRaises(BadMask, parse, "a(" * 4000)
        self.assertRaises(BadMask, parse, "a/" * 4000 + "a")
        parse(",".join(["ab"] * 2730))
        self.assertRaises(BadMask, parse, ",".join(["ab"] * 2732))

    @_quietly
    @given(_masks)
    def test_round_trip(self, mask: Mask) -> None:
        """What is written reads as the same."""
        self.assertEqual(mask, parse(render(mask)))

    @_quietly
    @given(st.text(alphabet="ab*(),/ .", max_size=12))
    def test_any_text(self, text: str) -> None:
        """Any text is refused or has a canonical form that is a fixed point."""
        try:
            mask = parse(text)
        except BadMask:
            return
        self.assertEqual(render(mask), render(parse(render(mask))))


class UnionTests(SynchronousTestCase):
    """The laws of joining."""

    @_quietly
    @given(_masks, _masks, _masks)
    def test_laws(self, one: Mask, two: Mask, three: Mask) -> None:
        """Order and repetition do not matter; everything absorbs."""
        self.assertEqual(one, union(one, one))
        self.assertEqual(union(one, two), union(two, one))
        self.assertEqual(union(one, union(two, three)), union(union(one, two), three))
        self.assertEqual(EVERYTHING, union(one, EVERYTHING))

    @_quietly
    @given(_masks, _masks)
    def test_comma(self, one: Mask, two: Mask) -> None:
        """Joining is what a comma does."""
        self.assertEqual(parse(f"{render(one)},{render(two)}"), union(one, two))

    @_quietly
    @given(_masks, _masks, _objects())
    def test_loses_nothing(self, one: Mask, two: Mask, value: dict[str, Any]) -> None:
        """An answer to the wider mask holds the answer to the narrower one."""
        self.assertEqual(select(one, value), select(one, select(union(one, two), value)))


class SelectTests(SynchronousTestCase):
    """Applying a mask."""

    answer = {
        "nextPageToken": "t",
        "files": [
            {"id": "1", "name": "n", "owners": [{"me": True, "kind": "u"}]},
            {"id": "2", "parents": ["p"]},
        ],
    }

    def test_nested(self) -> None:
        """Lists are gone through element by element, what is missing stays missing."""
        self.assertEqual(
            {"files": [{"id": "1", "owners": [{"me": True}]}, {"id": "2"}]},
            select(parse("files(id,owners/me)"), self.answer),
        )

    def test_wildcard(self) -> None:
        """A star is any name, and adds to what a name says."""
        self.assertEqual(self.answer, select(parse("*"), self.answer))
        self.assertEqual({"files": [{"id": "1"}, {"id": "2"}]}, select(parse("*/id"), self.answer))
        self.assertEqual(
            {"files": [{"id": "1", "name": "n"}, {"id": "2"}]}, select(parse("*/id,files/name"), self.answer)
        )

    def test_into_a_scalar(self) -> None:
        """What has no parts has none to show."""
        self.assertEqual({}, select(parse("nextPageToken/a"), self.answer))
        self.assertEqual({"files": [{}, {"parents": []}]}, select(parse("files/parents/a"), self.answer))

    @_quietly
    @given(_objects())
    def test_everything(self, value: dict[str, Any]) -> None:
        """Everything is everything."""
        self.assertEqual(value, select(EVERYTHING, value))
