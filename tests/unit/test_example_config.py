"""The example configuration: every setting is in it, with the default it really has."""

from __future__ import annotations

import re
import tomllib
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from docsession.config import Config, Section
from docsession.config_file import parse

EXAMPLE = Path(__file__).parents[2] / "docsession.example.toml"

# These have no default that could be shown: what stands in the file is an example.
WITHOUT_DEFAULT = {
    "server.keys_file",
    "google.client_id",
    "google.client_secret_file",
    "google.scopes",
    "push.url",
    "backend.url",
    "backend.password_file",
    "backend.certificate_authorities",
}

_SETTING = re.compile(r"^#([a-z_]+ = )", re.MULTILINE)


def settings(section: type[Section] = Config, where: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting there is, as ``section.name``, with its default."""
    types = typing.get_type_hints(section)
    for field in msgspec.structs.fields(section):
        kind = types[field.name]
        if isinstance(kind, type) and issubclass(kind, Section):
            yield from settings(kind, f"{where}{field.name}.")
        else:
            yield f"{where}{field.name}", field.default


def flat(table: dict[str, Any], where: str = "") -> Iterator[tuple[str, Any]]:
    """What a TOML file says, in the same form."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from flat(value, f"{where}{name}.")
        else:
            yield f"{where}{name}", tuple(value) if isinstance(value, list) else value


class ExampleTests(SynchronousTestCase):
    """``docsession.example.toml``."""

    def setUp(self) -> None:
        self.text = EXAMPLE.read_text(encoding="utf-8")
        self.uncommented = _SETTING.sub(r"\1", self.text)

    def test_changes_nothing(self) -> None:
        """As it is, it says what the defaults say."""
        self.assertEqual(parse(self.text), Config())

    def test_complete(self) -> None:
        """Every setting is there, once, in its section; and nothing else."""
        shown = [name for name, _ in flat(tomllib.loads(self.uncommented))]
        self.assertEqual(sorted(shown), sorted(name for name, _ in settings()))

    def test_true_defaults(self) -> None:
        """What it shows is the default, where there is one."""
        shown = dict(flat(tomllib.loads(self.uncommented)))
        for name, default in settings():
            if name not in WITHOUT_DEFAULT:
                self.assertEqual((name, shown[name]), (name, default))

    def test_examples_are_no_defaults(self) -> None:
        """What is listed as having no default has none."""
        defaults = dict(settings())
        for name in WITHOUT_DEFAULT:
            self.assertIn(defaults[name], ("", None, ()), name)

    def test_takes_effect(self) -> None:
        """With every setting switched on it is a configuration that can be used."""
        config = parse(self.uncommented)
        self.assertEqual(config.google.scopes, ("https://www.googleapis.com/auth/drive.file",))
        self.assertEqual(config.limits, Config().limits)
        self.assertEqual(config.polling, Config().polling)

    def test_word_of_why(self) -> None:
        """No setting stands there without a word: a comment is above it or above its neighbour."""
        lines = self.text.splitlines()
        for number, line in enumerate(lines):
            if _SETTING.match(line) and not lines[number - 1].startswith("#"):
                section = lines[number - 2 : number]
                self.assertTrue({"[google.endpoints]", "[google.quota]"} & set(section), line)
