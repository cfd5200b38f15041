"""Params that were checked before: found again by their bytes, within bounds."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from docsession.google.drive_request import Policy, find_method, prepare
from docsession.google.questions import Questions, question


class QuestionsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.questions = Questions(100_000)

    def keep(self, file_id: str, more: bytes = b"") -> bytes:
        params = b'{"fileId":"%b"%b}' % (file_id.encode(), more)
        request = prepare(find_method("drive.files.get"), {"fileId": file_id}, Policy())
        self.questions.keep(params, question(request))
        return params

    def kept(self) -> int:
        return len(self.questions._young) + len(self.questions._old)

    def test_what_an_answer_is_found_by(self) -> None:
        request = prepare(find_method("drive.files.get"), {"fileId": "f", "maxAge": 5}, Policy())
        asked = question(request)
        self.assertEqual((asked.key, asked.max_age, asked.file_id), (request.key(), 5.0, "f"))

    def test_only_the_same_bytes_are_the_same(self) -> None:
        params = self.keep("f")
        found = self.questions.get(params)
        self.assertIsNotNone(found)
        self.assertIs(self.questions.get(bytes(bytearray(params))), found)
        for other in (b'{"fileId":"f" }', b'{"fileId":"g"}', b"", params + b" "):
            self.assertIsNone(self.questions.get(other))

    def test_bounded(self) -> None:
        for number in range(10_000):
            self.keep(f"file{number}")
        self.assertLess(self.kept(), 100_000 / 350)
        self.assertGreater(self.kept(), 100)
        self.assertLessEqual(self.questions._bytes, 50_000)

    def test_what_is_asked_again_stays(self) -> None:
        again = self.keep("asked-again")
        seldom = self.keep("asked-once")
        for number in range(10_000):
            self.keep(f"file{number}")
            self.assertIsNotNone(self.questions.get(again))
        self.assertIsNone(self.questions.get(seldom))

    def test_keeping_again_costs_nothing(self) -> None:
        self.keep("f")
        before = self.questions._bytes
        for _ in range(1000):
            self.keep("f")
        self.assertEqual((self.questions._bytes, self.kept()), (before, 1))

    def test_long_ones_are_not_kept(self) -> None:
        """They would push out many, and cost a page that sends them little."""
        params = self.keep("f", b" " * 4096)
        self.assertIsNone(self.questions.get(params))
        self.assertEqual(self.kept(), 0)
