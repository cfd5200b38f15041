"""``docs/sandbox.rst`` names every control route, and its examples work."""

from __future__ import annotations

import json
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from docsession.sandbox.batch import MOST_CALLS
from docsession.sandbox.control import Control
from docsession.sandbox.delivery import PAUSES
from docsession.sandbox.table import methods
from docsession.sandbox.uploads import MOST_BYTES, MOST_SESSIONS, PIECE
from tests.unit.sandbox_driver import Driver

TEXT = (Path(__file__).parents[2] / "docs" / "sandbox.rst").read_text(encoding="utf-8")
EXAMPLE = re.compile(r"^    (GET|PUT|POST|DELETE) (/sandbox/\S+)(?: (.+))?$", re.MULTILINE)


class DocumentationTests(SynchronousTestCase):
    def test_every_route_has_an_example(self) -> None:
        shown = {(verb, path) for verb, path, _ in EXAMPLE.findall(TEXT)}
        routes = {
            (verb, rule.rule)
            for rule in Control.app.url_map.iter_rules()
            for verb in (rule.methods or set()) - {"HEAD"}
            if not rule.rule.startswith("/sandbox/icons/")
        }
        self.assertEqual(shown, routes)

    def test_the_examples_work(self) -> None:
        google = Driver()
        file = google.id_of("Autumn plan")
        for verb, path, body in EXAMPLE.findall(TEXT):
            sent = json.loads(body.replace("FILE", file)) if body else None
            answer = google.ask(verb, path, who=None, body=sent)
            self.assertEqual(answer.status, 200, f"{verb} {path} {body}: {answer.body!r}")

    def test_the_seed(self) -> None:
        (seed,) = re.findall(r"^    (\{\"people\".*?\]\})\n\n", TEXT, re.MULTILINE | re.DOTALL)
        google = Driver(json.loads(seed))
        self.assertEqual(google.drive("GET", f"files/{google.id_of('Plan')}").status, 200)

    def test_what_it_says_of_uploads_and_batches(self) -> None:
        said = " ".join(TEXT.split())
        self.assertIn(f"There are at most {MOST_SESSIONS}, of {MOST_BYTES // 10**6} MB each.", said)
        self.assertIn(f"with at most {MOST_CALLS} parts", said)
        self.assertIn(f"multiples of {PIECE // 1024} KiB", said)
        self.assertIn(f"bytes 0-{PIECE - 1}/*", said)

    def test_what_it_says_of_push(self) -> None:
        said = " ".join(TEXT.split())
        numbers = [f"{pause:g}" for pause in PAUSES]
        self.assertIn(f"after {', '.join(numbers[:-1])} and {numbers[-1]} seconds", said)
        for method in ("changes.watch", "files.watch", "channels.stop"):
            self.assertIn(f"``{method}``", said)
            self.assertIn("drive." + method, methods())
