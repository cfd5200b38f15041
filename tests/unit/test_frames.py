"""What a client sends is read as RFC 6455 says, however it was cut up; what is written, others can read."""

from __future__ import annotations

import io
import random
import struct
import sys
from collections.abc import Iterable, Iterator

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from docsession.web.frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    VIOLATION,
    FrameReader,
    close_code,
    close_frame,
    frame,
)
from tests.unit import frame_cases
from tests.unit.frame_cases import (
    CONTINUATION,
    MOST_BYTES,
    MOST_FRAGMENTS,
    SECTIONS,
    Event,
    close,
    header,
    masked,
    sent,
)


def pieces(wire: bytes, cuts: Iterable[int]) -> Iterator[bytes]:
    """It, cut at these places."""
    begin = 0
    for cut in sorted(cuts):
        yield wire[begin:cut]
        begin = cut
    yield wire[begin:]


def read(reader: FrameReader, wire: Iterable[bytes]) -> list[Event]:
    """What comes of it, of a violation only the code; the reason is looked at here."""
    told: list[Event] = []
    for data in wire:
        for kind, payload in reader.feed(data):
            assert type(payload) is bytes
            if kind == VIOLATION:
                assert 3 < len(payload) <= 125 and payload[2:].isascii()
                told.append((kind, int.from_bytes(payload[:2], "big")))
            else:
                told.append((kind, payload))
    return told


def a_reader() -> FrameReader:
    return FrameReader(MOST_BYTES, MOST_FRAGMENTS)


class CatalogueTests(SynchronousTestCase):
    """Every case: at once, a byte at a time, and cut anywhere."""

    def check(self, cuts: str) -> None:
        chance = random.Random(6455)
        for section in SECTIONS:
            for name, (wire, expected) in section():
                size = len(wire)
                if cuts == "none":
                    ways: list[Iterable[int]] = [()]
                elif cuts == "all":
                    ways = [range(1, size)]
                else:
                    most = min(size, 40)
                    ways = [chance.sample(range(size), chance.randint(0, most)) for _ in range(5)]
                for way in ways:
                    reader = a_reader()
                    told = read(reader, pieces(wire, way))
                    self.assertEqual(told == expected, True, f"{name}: {brief(told)}, not {brief(expected)}")
                    if expected and expected[-1][0] in (CLOSE, VIOLATION):
                        self.assertEqual(reader.feed(sent(TEXT, b"more")), [], name)

    def test_at_once(self) -> None:
        self.check("none")

    def test_a_byte_at_a_time(self) -> None:
        self.check("all")

    def test_cut_anywhere(self) -> None:
        self.check("some")

    def test_every_name_is_given_once(self) -> None:
        names = [name for section in SECTIONS for name, _ in section()]
        self.assertEqual(sorted(names), sorted(set(names)))


def brief(events: Iterable[Event]) -> str:
    """For a message that can be read where payloads are long."""
    return ", ".join(f"{kind} {told if isinstance(told, int) else told[:30]!r}" for kind, told in events)


class ReaderTests(SynchronousTestCase):
    """What the catalogue does not say."""

    def test_a_frame_too_big_is_refused_before_its_payload(self) -> None:
        reader = FrameReader(1000)
        self.assertEqual(read(reader, [header(TEXT, 1001)]), [frame_cases.TOO_BIG])

    def test_a_fragment_too_many_is_refused_before_its_payload(self) -> None:
        reader = FrameReader(1000, 2)
        wire = sent(TEXT, final=False) + sent(CONTINUATION, final=False) + header(CONTINUATION, 5)
        self.assertEqual(read(reader, [wire]), [frame_cases.TOO_BIG])

    def test_a_limit_of_bytes_is_not_for_control_frames(self) -> None:
        reader = FrameReader(10)
        wire = sent(PING, b"*" * 100) + sent(TEXT, b"*" * 11)
        self.assertEqual(read(reader, [wire]), [(PING, b"*" * 100), frame_cases.TOO_BIG])

    def test_a_thousand_fragments_unless_told_otherwise(self) -> None:
        wire = sent(TEXT, b"a", final=False) + sent(CONTINUATION, b"a", final=False) * 998
        reader = FrameReader(MOST_BYTES)
        self.assertEqual(read(reader, [wire, sent(CONTINUATION, b"a")]), [(TEXT, b"a" * 1000)])
        more = sent(CONTINUATION, b"a", final=False)
        self.assertEqual(read(reader, [wire, more, sent(CONTINUATION)]), [frame_cases.TOO_BIG])

    def test_messages_come_before_the_violation_after_them(self) -> None:
        wire = sent(TEXT, b"one") + sent(PING) + sent(BINARY, b"two") + header(TEXT, 1, mask=False)
        expected: list[Event] = [(TEXT, b"one"), (PING, b""), (BINARY, b"two"), frame_cases.PROTOCOL_ERROR]
        self.assertEqual(read(a_reader(), [wire]), expected)

    def test_a_violation_is_the_payload_of_a_close_frame(self) -> None:
        [(kind, payload)] = a_reader().feed(header(TEXT, 1, mask=False))
        self.assertEqual((kind, payload), (VIOLATION, b"\x03\xeaa frame that is not masked"))
        self.assertEqual((close_code(payload), len(frame(payload, CLOSE))), (1002, len(payload) + 2))

    def test_nothing_is_kept_between_messages(self) -> None:
        reader = a_reader()
        self.assertFalse(hasattr(reader, "__dict__"))
        idle = kept(reader)
        self.assertLessEqual(sys.getsizeof(reader), 72)
        for wire in (
            sent(TEXT, b"*" * 5000),
            sent(PING, b"*"),
            frame_cases.fragments(TEXT, b"*" * 900, b"*"),
        ):
            for cut in (1, len(wire) // 2, len(wire) - 1):
                self.assertEqual(reader.feed(wire[:cut]), [])
                self.assertNotEqual(kept(reader), idle)
                self.assertEqual(len(reader.feed(wire[cut:])), 1)
                self.assertEqual(kept(reader), idle)

    def test_nothing_is_kept_when_it_is_over(self) -> None:
        for last in (close(1000), header(TEXT, 1, mask=False)):
            for before in (b"", sent(TEXT, b"*" * 900, final=False)):
                for cut in (0, 1, len(last) - 1):
                    reader = a_reader()
                    reader.feed(before + last[:cut])
                    self.assertEqual(len(reader.feed(last[cut:] + b"*" * 900)), 1)
                    for _ in range(3):
                        self.assertEqual(reader.feed(b"*" * 900), [])
                    self.assertEqual(kept(reader), {"_message": None, "_rest": b""})

    def test_what_waits_is_added_to_and_not_copied(self) -> None:
        reader = a_reader()
        wire = sent(TEXT, b"*" * 3000)
        self.assertEqual(reader.feed(wire[:20]), [])
        waiting = reader._rest
        for place in range(20, len(wire) - 1):
            self.assertEqual(reader.feed(wire[place : place + 1]), [])
            self.assertIs(reader._rest, waiting)
        self.assertEqual(reader.feed(wire[-1:]), [(TEXT, b"*" * 3000)])

    def test_fragments_are_added_to_and_not_copied(self) -> None:
        reader = a_reader()
        reader.feed(sent(TEXT, b"*", final=False))
        message = reader._message
        assert message is not None
        payload = message.payload
        reader.feed(sent(CONTINUATION, b"*" * 3000, final=False))
        self.assertIs(message.payload, payload)
        self.assertEqual(reader.feed(sent(CONTINUATION)), [(TEXT, b"*" * 3001)])

    def test_every_length_under_any_mask(self) -> None:
        chance = random.Random(1)
        for length in (*range(700), 1000, 4097, MOST_BYTES):
            payload = chance.randbytes(length)
            wire = sent(BINARY, payload, key=chance.randbytes(4))
            self.assertEqual(a_reader().feed(wire) == [(BINARY, payload)], True, length)


def kept(reader: FrameReader) -> dict[str, object]:
    """What a reader holds that can grow."""
    return {"_message": reader._message, "_rest": bytes(reader._rest)}


# -- Any stream at all

texts = st.text(max_size=60).map(str.encode) | st.text(max_size=9).map(lambda text: text.encode() * 40)
controls = st.tuples(st.sampled_from((PING, PONG)), st.binary(max_size=125))
messages = st.tuples(st.just(TEXT), texts) | st.tuples(st.just(BINARY), st.binary(max_size=300))
keys = st.binary(min_size=4, max_size=4)
cuts = st.lists(st.floats(0, 1), max_size=12)


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[Event]]:
    """Messages in any number of fragments, control frames anywhere; perhaps a close at the end."""
    wire = bytearray()
    told: list[Event] = []

    def perhaps_control() -> None:
        for opcode, payload in draw(st.lists(controls, max_size=2)):
            wire.extend(sent(opcode, payload, key=draw(keys)))
            told.append((opcode, payload))

    for opcode, payload in draw(st.lists(messages, max_size=5)):
        parts = list(pieces(payload, draw(st.lists(st.integers(0, len(payload)), max_size=5))))
        for place, part in enumerate(parts):
            perhaps_control()
            kind = CONTINUATION if place else opcode
            wire.extend(sent(kind, part, final=place == len(parts) - 1, key=draw(keys)))
        told.append((opcode, payload))
    perhaps_control()
    if draw(st.booleans()):
        reason = draw(st.text(max_size=30)).encode()
        wire.extend(close(4000, reason))
        told.append((CLOSE, struct.pack("!H", 4000) + reason))
    return bytes(wire), told


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Streams of which bytes are changed, left out and put in."""
    wire = bytearray(draw(streams())[0])
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(wire)))
        what = draw(st.sampled_from(("change", "flip", "insert", "delete", "repeat")))
        if what == "insert":
            wire[place:place] = draw(st.binary(min_size=1, max_size=5))
        elif what == "repeat":
            wire[place:place] = wire[place : place + draw(st.integers(1, 30))]
        elif what == "delete":
            del wire[place : place + draw(st.integers(1, 5))]
        elif place < len(wire):
            wire[place] = draw(st.integers(0, 255)) if what == "change" else wire[place] ^ 1 << place % 8
    return bytes(wire)


@st.composite
def headers(draw: st.DrawFn) -> bytes:
    """Frames by any header at all, good ones among them, so that rules meet each other."""
    wire = bytearray()
    for _ in range(draw(st.integers(1, 6))):
        first = draw(
            st.sampled_from((0x81, 0x01, 0x00, 0x80, 0x82, 0x02, 0x88, 0x89, 0x8A)) | st.integers(0, 255)
        )
        length = draw(st.integers(0, 130) | st.sampled_from((1000, 1001, 65535, 65536, 1 << 63)))
        written = draw(st.sampled_from((7, 7, 7, 16, 64)))
        mask = draw(st.sampled_from((0x80,) * 9 + (0,)))
        if written == 7:
            wire += bytes((first, mask | length % 126))
            length %= 126
        elif written == 16:
            length %= 65536
            wire += struct.pack("!BBH", first, mask | 126, length)
        else:
            wire += struct.pack("!BBQ", first, mask | 127, length)
        payload = draw(st.binary(min_size=min(length, 200), max_size=min(length, 200)) | texts)
        if draw(st.booleans()):
            payload = b"\x03\xe8" + payload
        if draw(st.integers(0, 9)):
            payload = payload[:length].ljust(length, b"*") if length <= 2000 else payload
        key = draw(keys)
        wire += key + masked(payload, key)
    return bytes(wire)


def by_the_book(wire: bytes, most: int, most_fragments: int) -> list[Event]:
    """The RFC once more, read from a stream that is all there, without a thought for speed."""
    stream, told = io.BytesIO(wire), list[Event]()
    parts: list[bytes] = []
    started = None

    def need(size: int) -> bytes:
        data = stream.read(size)
        if len(data) < size:
            raise EOFError
        return data

    def violation(code: int) -> list[Event]:
        return [*told, (VIOLATION, code)]

    try:
        while True:
            bits = "".join(f"{byte:08b}" for byte in need(2))
            final, reserved, opcode, mask = bits[0] == "1", bits[1:4], int(bits[4:8], 2), bits[8] == "1"
            length = int(bits[9:], 2)
            extended = {126: 2, 127: 8}.get(length, 0)
            if extended:
                length = int(need(extended).hex(), 16)
                if length > 2**63 - 1 or length <= {2: 125, 8: 65535}[extended]:
                    return violation(1002)
            control = opcode in (CLOSE, PING, PONG)
            if (
                reserved != "000"
                or not (control or opcode in (CONTINUATION, TEXT, BINARY))
                or not mask
                or (control and (not final or length > 125))
                or (not control and (opcode == CONTINUATION) != (started is not None))
            ):
                return violation(1002)
            if not control and (sum(map(len, parts)) + length > most or len(parts) == most_fragments):
                return violation(1009)
            key = need(4)
            payload = masked(need(length), key)
            if not control:
                started = opcode if started is None else started
                parts.append(payload)
                if not final:
                    continue
                opcode, payload, parts, started = started, b"".join(parts), [], None
            if opcode == CLOSE and payload:
                code = int(payload[:2].hex(), 16)
                if len(payload) < 2 or not (
                    1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999
                ):
                    return violation(1002)
            try:
                if opcode in (TEXT, CLOSE):
                    str(payload[2 * (opcode == CLOSE) :], "utf-8", "strict")
            except UnicodeError:
                return violation(1007)
            told.append((opcode, payload))
            if opcode == CLOSE:
                return told
    except EOFError:
        return told


class AnyStreamTests(SynchronousTestCase):
    def both(self, wire: bytes, where: list[float], most: int = MOST_BYTES) -> list[Event]:
        """At once and cut up: the same."""
        told = read(FrameReader(most, MOST_FRAGMENTS), [wire])
        cut = pieces(wire, {int(place * len(wire)) for place in where})
        self.assertEqual(read(FrameReader(most, MOST_FRAGMENTS), cut), told)
        singly = (wire[place : place + 1] for place in range(len(wire)))
        self.assertEqual(read(FrameReader(most, MOST_FRAGMENTS), singly), told)
        return told

    @settings(max_examples=150, deadline=None)
    @given(streams(), cuts)
    def test_what_was_sent_is_what_is_told(
        self, stream: tuple[bytes, list[Event]], where: list[float]
    ) -> None:
        wire, sent_so = stream
        self.assertEqual(self.both(wire, where), sent_so)

    @settings(max_examples=300, deadline=None)
    @given(st.binary(max_size=200) | mutated() | headers(), cuts)
    @example(b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff", [])
    @example(b"\x81\xfe\x00\x7e\x00\x00\x00\x00" + b"\xff" * 126, [])
    def test_whatever_comes_is_told_by_the_book(self, wire: bytes, where: list[float]) -> None:
        """It never raises, no text is told that is none, and the end is the end."""
        told = self.both(wire, where, most=1000)
        self.assertEqual(told, by_the_book(wire, 1000, MOST_FRAGMENTS))
        for place, (kind, payload) in enumerate(told):
            self.assertIn(kind, (TEXT, BINARY, CLOSE, PING, PONG, VIOLATION))
            if kind == TEXT:
                assert isinstance(payload, bytes)
                payload.decode()
            if kind in (CLOSE, VIOLATION):
                self.assertEqual(place, len(told) - 1)

    def test_the_book_says_of_every_case_what_the_catalogue_says(self) -> None:
        for section in SECTIONS:
            for name, (wire, expected) in section():
                told = by_the_book(wire, MOST_BYTES, MOST_FRAGMENTS)
                self.assertEqual(told == expected, True, f"{name}: {brief(told)}, not {brief(expected)}")


# -- What is written


def taken_apart(data: bytes) -> tuple[int, bytes]:
    """Opcode and payload of the one frame that this is, by a client's rules."""
    first, second = data[0], data[1]
    assert first & 0xF0 == 0x80, "final, and no reserved bits"
    assert second < 128, "a server does not mask"
    assert first & 0x0F in (TEXT, BINARY, CLOSE, PING, PONG)
    if second < 126:
        length, payload = second, data[2:]
    elif second == 126:
        (length,), payload = struct.unpack("!H", data[2:4]), data[4:]
        assert length > 125, "in as few bytes as it fits into"
    else:
        (length,), payload = struct.unpack("!Q", data[2:10]), data[10:]
        assert length > 65535, "in as few bytes as it fits into"
    assert length == len(payload)
    assert first & 0x08 == 0 or length <= 125
    return first & 0x0F, payload


class WriterTests(SynchronousTestCase):
    def test_every_length(self) -> None:
        for length in (*range(300), 65534, 65535, 65536, 65537, 200_000):
            payload = b"\xfe" * length
            for opcode in (TEXT, BINARY):
                self.assertEqual(taken_apart(frame(payload, opcode)) == (opcode, payload), True, length)
            if length < 126:
                for opcode in (CLOSE, PING, PONG):
                    self.assertEqual(taken_apart(frame(payload, opcode)), (opcode, payload))

    @settings(max_examples=100, deadline=None)
    @given(st.binary(max_size=400) | st.integers(65000, 66000).map(bytes), st.sampled_from((TEXT, BINARY)))
    def test_anything(self, payload: bytes, opcode: int) -> None:
        self.assertEqual(taken_apart(frame(payload, opcode)), (opcode, payload))

    def test_text_unless_told_otherwise(self) -> None:
        self.assertEqual(frame(b"{}"), b"\x81\x02{}")

    def test_the_examples_of_the_rfc(self) -> None:
        """Section 5.7, those that a server sends."""
        self.assertEqual(frame(b"Hello"), bytes.fromhex("810548656c6c6f"))
        self.assertEqual(frame(b"Hello", PING), bytes.fromhex("890548656c6c6f"))
        self.assertEqual(frame(bytes(256), BINARY)[:4], bytes.fromhex("827e0100"))
        self.assertEqual(frame(bytes(65536), BINARY)[:10], bytes.fromhex("827f0000000000010000"))

    def test_a_control_frame_is_short(self) -> None:
        for opcode in (CLOSE, PING, PONG):
            with self.assertRaises(ValueError):
                frame(bytes(126), opcode)

    def test_a_close_frame(self) -> None:
        self.assertEqual(close_frame(None), b"\x88\x00")
        self.assertEqual(close_frame(None, "unheard"), b"\x88\x00")
        self.assertEqual(close_frame(1000), b"\x88\x02\x03\xe8")
        self.assertEqual(close_frame(4500, "signed out"), b"\x88\x0c\x11\x94signed out")

    def test_of_a_long_reason_whole_characters(self) -> None:
        for reason, fitting in (
            ("a" * 123, "a" * 123),
            ("a" * 124, "a" * 123),
            ("a" * 122 + "€", "a" * 122),
            ("a" * 120 + "€", "a" * 120 + "€"),
            ("\U0001f600" * 40, "\U0001f600" * 30),
        ):
            self.assertEqual(taken_apart(close_frame(1011, reason)), (CLOSE, b"\x03\xf3" + fitting.encode()))

    @settings(max_examples=100, deadline=None)
    @given(st.text(max_size=200), st.integers(1000, 4999))
    @example("half a pair: \ud800", 4000)
    def test_any_reason(self, reason: str, code: int) -> None:
        opcode, payload = taken_apart(close_frame(code, reason))
        self.assertEqual((opcode, close_code(payload)), (CLOSE, code))
        written = reason.encode("utf-8", "replace").decode()
        said = payload[2:].decode()
        self.assertTrue(written.startswith(said))
        self.assertTrue(said == written or len(payload) > 125 - 4)

    def test_the_code_of_a_close(self) -> None:
        self.assertIsNone(close_code(b""))
        self.assertEqual(close_code(b"\x03\xe8"), 1000)
        self.assertEqual(close_code(b"\x0f\xa0because"), 4000)
