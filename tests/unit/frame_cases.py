"""What clients may and may not put on the wire, in the order and with the numbers of Autobahn's test suite.

Written anew from its descriptions. Names that begin with ``+`` are cases of our own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from docsession.web.frames import BINARY, CLOSE, PING, PONG, TEXT, VIOLATION

# The limits of the reader that the cases are for.
MOST_BYTES = 0x10000
MOST_FRAGMENTS = 50

# As a reader tells them, but of a violation only the code.
Event = tuple[int, bytes | int]
Case = tuple[bytes, list[Event]]

PROTOCOL_ERROR: Event = (VIOLATION, 1002)
NOT_UTF8: Event = (VIOLATION, 1007)
TOO_BIG: Event = (VIOLATION, 1009)

CONTINUATION = 0
KEY = bytes.fromhex("37fa213d")


def masked(payload: bytes, key: bytes = KEY) -> bytes:
    """A byte at a time, as the RFC has it."""
    return bytes(byte ^ key[place % 4] for place, byte in enumerate(payload))


def header(opcode: int, length: int, *, final: bool = True, rsv: int = 0, mask: bool = True) -> bytes:
    """The bytes before the mask, with the length in as few of them as it fits into."""
    first, second = final << 7 | rsv << 4 | opcode, mask << 7
    if length < 126:
        return struct.pack("!BB", first, second | length)
    if length < 65536:
        return struct.pack("!BBH", first, second | 126, length)
    return struct.pack("!BBQ", first, second | 127, length)


def sent(opcode: int, payload: bytes = b"", *, final: bool = True, rsv: int = 0, key: bytes = KEY) -> bytes:
    """A frame as a client sends it."""
    return header(opcode, len(payload), final=final, rsv=rsv) + key + masked(payload, key)


def fragments(opcode: int, *parts: bytes) -> bytes:
    """A message in so many frames."""
    last = len(parts) - 1
    return b"".join(
        sent(CONTINUATION if place else opcode, part, final=place == last) for place, part in enumerate(parts)
    )


def close(code: int, reason: bytes = b"") -> bytes:
    """A close frame of a client's, whatever it says."""
    return sent(CLOSE, struct.pack("!H", code) + reason)


HELLO = b"Hello, world!"
GREEK = "\u03ba\u1f79\u03c3\u03bc\u03b5".encode()
NOT_TEXT = b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"
TOLD: Event = (TEXT, HELLO)
PINGED: Event = (PING, b"")
NORMAL = struct.pack("!H", 1000)


def framing() -> Iterator[tuple[str, Case]]:
    """1: lengths, and how they are written."""
    lengths = (0, 125, 126, 127, 128, 65535, 65536)
    for group, opcode, byte in ((1, TEXT, b"*"), (2, BINARY, b"\xfe")):
        for number, length in enumerate(lengths, 1):
            payload = byte * length
            yield f"1.{group}.{number} {length} bytes", (sent(opcode, payload), [(opcode, payload)])
    # What is left over when a payload is taken four bytes at a time, under masks that show the place.
    for length in range(9):
        payload = bytes(range(length))
        yield (
            f"+1.1 {length} bytes under a mask of which each byte differs",
            (sent(BINARY, payload, key=b"\x01\x20\x40\x80"), [(BINARY, payload)]),
        )
    yield "+1.2 a mask of zeros", (sent(TEXT, HELLO, key=bytes(4)), [TOLD])
    for opcode in (TEXT, BINARY, CLOSE, PING, PONG):
        yield f"+1.3 opcode {opcode} not masked", (header(opcode, 2, mask=False) + NORMAL, [PROTOCOL_ERROR])
    yield "+1.4 an empty one not masked", (header(TEXT, 0, mask=False), [PROTOCOL_ERROR])
    yield (
        "+1.5 a fragment not masked after one that is",
        (
            sent(TEXT, b"a", final=False) + header(CONTINUATION, 1, mask=False) + b"b",
            [PROTOCOL_ERROR],
        ),
    )
    for length in (0, 5, 125):
        short = struct.pack("!BBH", 0x81, 0xFE, length) + KEY + masked(b"*" * length)
        yield f"+1.6 {length} written in 16 bits", (short, [PROTOCOL_ERROR])
    for length in (0, 125, 126, 65535):
        long = struct.pack("!BBQ", 0x82, 0xFF, length) + KEY + masked(b"*" * length)
        yield f"+1.7 {length} written in 64 bits", (long, [PROTOCOL_ERROR])
    for length in (1 << 63, (1 << 63) + 5, (1 << 64) - 1):
        highest = struct.pack("!BBQ", 0x81, 0xFF, length) + KEY
        yield f"+1.8 {length:x} with the highest bit", (highest, [PROTOCOL_ERROR])
    yield "+1.9 nothing", (b"", [])
    yield "+1.10 half a header", (sent(TEXT, HELLO)[:1], [])
    yield "+1.11 no mask yet", (sent(TEXT, b"")[:5], [])
    yield "+1.12 all but the last byte", (sent(TEXT, HELLO)[:-1], [])
    yield "+1.13 all but the last byte of the second", (sent(TEXT, HELLO) + sent(PING, b"x")[:-1], [TOLD])
    yield "+1.14 a request for a page", (b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", [PROTOCOL_ERROR])


def pings() -> Iterator[tuple[str, Case]]:
    """2: pings and pongs."""
    full = b"\xfe" * 125
    yield "2.1 an empty ping", (sent(PING), [PINGED])
    yield "2.2 a ping with text", (sent(PING, HELLO), [(PING, HELLO)])
    yield "2.3 a ping with what is no text", (sent(PING, NOT_TEXT), [(PING, NOT_TEXT)])
    yield "2.4, 2.6 a ping of 125 bytes", (sent(PING, full), [(PING, full)])
    yield "2.5 a ping of 126 bytes", (sent(PING, full + b"\xfe"), [PROTOCOL_ERROR])
    yield "2.7 a pong nobody asked for", (sent(PONG), [(PONG, b"")])
    yield "2.8 one with a payload", (sent(PONG, b"unasked"), [(PONG, b"unasked")])
    yield "2.9 and a ping after it", (sent(PONG, b"unasked") + sent(PING), [(PONG, b"unasked"), PINGED])
    ten = [b"payload-%d" % number for number in range(10)]
    wire = b"".join(sent(PING, payload) for payload in ten)
    yield "2.10, 2.11 ten pings", (wire, [(PING, payload) for payload in ten])
    yield "+2.1 a pong of 126 bytes", (sent(PONG, full + b"\xfe"), [PROTOCOL_ERROR])
    yield "+2.2 a ping of 65536 bytes", (header(PING, 65536) + KEY, [PROTOCOL_ERROR])


def reserved_bits() -> Iterator[tuple[str, Case]]:
    """3: bits that an extension would give a meaning."""
    hello = sent(TEXT, HELLO)
    yield "3.1 of a text", (sent(TEXT, HELLO, rsv=1), [PROTOCOL_ERROR])
    for number in (2, 3, 4):
        wire = hello + sent(TEXT, HELLO, rsv=number) + sent(PING)
        yield f"3.{number} of the second text", (wire, [TOLD, PROTOCOL_ERROR])
    yield "3.5 of a binary message", (sent(BINARY, NOT_TEXT, rsv=5), [PROTOCOL_ERROR])
    yield "3.6 of a ping", (sent(PING, HELLO, rsv=6), [PROTOCOL_ERROR])
    yield "3.7 of a close", (sent(CLOSE, rsv=7), [PROTOCOL_ERROR])
    for bit in (1, 2, 4):
        wire = sent(TEXT, b"a", final=False) + sent(CONTINUATION, b"b", rsv=bit)
        yield f"+3.1 bit {bit} of a later fragment", (wire, [PROTOCOL_ERROR])


def opcodes() -> Iterator[tuple[str, Case]]:
    """4: opcodes without a meaning."""
    hello = sent(TEXT, HELLO)
    for group, lowest in ((1, 3), (2, 11)):
        for number in range(1, 6):
            opcode = lowest + number - 1
            alone = number < 3
            wire = sent(opcode, b"" if number % 3 == 1 else HELLO)
            yield (
                f"4.{group}.{number} opcode {opcode}",
                (
                    wire if alone else hello + wire + sent(PING),
                    [PROTOCOL_ERROR] if alone else [TOLD, PROTOCOL_ERROR],
                ),
            )
            within = sent(TEXT, b"a", final=False) + wire + sent(CONTINUATION, b"b")
            yield f"+4.1 opcode {opcode} between fragments", (within, [PROTOCOL_ERROR])


def fragmentation() -> Iterator[tuple[str, Case]]:
    """5: messages in several frames, and what may come between them."""
    one, two, three, four = (b"fragment%d" % number for number in range(1, 5))
    both = fragments(TEXT, one, two)
    whole: Event = (TEXT, one + two)
    hello = sent(TEXT, HELLO)
    stray = b"nothing to go on with"
    yield "5.1 a ping in two", (sent(PING, one, final=False) + sent(CONTINUATION, two), [PROTOCOL_ERROR])
    yield "5.2 a pong in two", (sent(PONG, one, final=False) + sent(CONTINUATION, two), [PROTOCOL_ERROR])
    yield "5.3, 5.4, 5.5 a text in two", (both, [whole])
    between = sent(TEXT, one, final=False) + sent(PING, b"between") + sent(CONTINUATION, two)
    yield "5.6, 5.7, 5.8 a ping between", (between, [(PING, b"between"), whole])
    yield "5.9, 5.10, 5.11 a last fragment first", (sent(CONTINUATION, stray) + hello, [PROTOCOL_ERROR])
    yield (
        "5.12, 5.13, 5.14 a later fragment first",
        (sent(CONTINUATION, stray, final=False) + hello, [PROTOCOL_ERROR]),
    )
    after = both + sent(CONTINUATION, three, final=False) + sent(TEXT, four)
    yield "5.15 a fragment after the last", (after, [whole, PROTOCOL_ERROR])
    for number, final in ((16, False), (17, True)):
        wire = (sent(CONTINUATION, one, final=final) + fragments(TEXT, two, three)) * 2
        yield f"5.{number} fragments of nothing before a text in two", (wire, [PROTOCOL_ERROR])
    again = sent(TEXT, one, final=False) + sent(TEXT, two)
    yield "5.18 a text within a text", (again, [PROTOCOL_ERROR])
    wire = (
        sent(TEXT, one, final=False)
        + sent(CONTINUATION, two, final=False)
        + sent(PING, b"pongme 1!")
        + sent(CONTINUATION, three, final=False)
        + sent(CONTINUATION, four, final=False)
        + sent(PING, b"pongme 2!")
        + sent(CONTINUATION, b"fragment5")
    )
    told: list[Event] = [
        (PING, b"pongme 1!"),
        (PING, b"pongme 2!"),
        (TEXT, one + two + three + four + b"fragment5"),
    ]
    yield "5.19, 5.20 two pings within five fragments", (wire, told)
    yield (
        "+5.1 a binary message in three",
        (fragments(BINARY, NOT_TEXT, b"", one), [(BINARY, NOT_TEXT + one)]),
    )
    for inner in (TEXT, BINARY):
        for final in (False, True):
            wire = sent(BINARY, one, final=False) + sent(inner, two, final=final)
            yield f"+5.2 opcode {inner} within a binary message, {final=}", (wire, [PROTOCOL_ERROR])
    pong = sent(TEXT, one, final=False) + sent(PONG, b"p") + sent(CONTINUATION, two) + hello
    yield "+5.3 a pong between, a text after", (pong, [(PONG, b"p"), whole, TOLD])
    yield "+5.4 a message after a message in two", (both + both + hello, [whole, whole, TOLD])
    unfinished = sent(TEXT, one, final=False) + sent(PING)
    yield "+5.5 a ping is told before the message is whole", (unfinished, [PINGED])
    yield "+5.6 a close in fragments", (sent(CLOSE, NORMAL, final=False), [PROTOCOL_ERROR])


# Markus Kuhn's UTF-8 decoder stress test, by its section titles: text that is valid, and that is not.
_UTF8: tuple[tuple[str, tuple[bytes, ...], tuple[bytes, ...]], ...] = (
    (
        "6.5 valid text",
        (*(f"hello{character}world".encode() for character in "$¢€\U00024b62"), GREEK),
        (),
    ),
    (
        "6.6 the beginnings of a text",
        tuple(GREEK[:cut] for cut in (2, 5, 7, 9, 11)),
        tuple(GREEK[:cut] for cut in (1, 3, 4, 6, 8, 10)),
    ),
    ("6.7 the first of each length", (b"\x00", b"\xc2\x80", b"\xe0\xa0\x80", b"\xf0\x90\x80\x80"), ()),
    ("6.8 the first of five and six", (), (b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80")),
    ("6.9 the last of each length", (b"\x7f", b"\xdf\xbf", b"\xef\xbf\xbf", b"\xf4\x8f\xbf\xbf"), ()),
    (
        "6.10 the last of four, five and six",
        (),
        (b"\xf7\xbf\xbf\xbf", b"\xfb\xbf\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf\xbf"),
    ),
    (
        "6.11 other edges",
        (b"\xed\x9f\xbf", b"\xee\x80\x80", b"\xef\xbf\xbd", b"\xf4\x8f\xbf\xbf"),
        (b"\xf4\x90\x80\x80",),
    ),
    (
        "6.12 continuations of nothing",
        (),
        (b"\x80", b"\xbf", *((b"\x80\xbf" * 3)[:length] for length in range(2, 7)), bytes(range(0x80, 0xC0))),
    ),
    (
        "6.13 lonely starts",
        (),
        tuple(
            b" ".join(bytes((byte,)) for byte in range(first, last + 1)) + b" "
            for first, last in ((0xC0, 0xDF), (0xE0, 0xEF), (0xF0, 0xF7), (0xF8, 0xFB), (0xFC, 0xFD))
        ),
    ),
    (
        "6.14, 6.15 the last byte missing",
        (),
        (
            *(bytes((first,)) + b"\x80" * more for more, first in enumerate((0xC0, 0xE0, 0xF0, 0xF8, 0xFC))),
            *(bytes((first,)) + b"\xbf" * more for more, first in enumerate((0xDF, 0xEF, 0xF7, 0xFB, 0xFD))),
            b"\xc0\xe0\x80\xf0\x80\x80\xf8\x80\x80\x80\xfc\x80\x80\x80\x80",
        ),
    ),
    ("6.16 bytes that are in no text", (), (b"\xfe", b"\xff", b"\xfe\xfe\xff\xff")),
    (
        "6.17 a slash written too long",
        (),
        (
            b"\xc0\xaf",
            b"\xe0\x80\xaf",
            b"\xf0\x80\x80\xaf",
            b"\xf8\x80\x80\x80\xaf",
            b"\xfc\x80\x80\x80\x80\xaf",
        ),
    ),
    (
        "6.18 the last of what is too long",
        (),
        (
            b"\xc1\xbf",
            b"\xe0\x9f\xbf",
            b"\xf0\x8f\xbf\xbf",
            b"\xf8\x87\xbf\xbf\xbf",
            b"\xfc\x83\xbf\xbf\xbf\xbf",
        ),
    ),
    (
        "6.19 NUL written too long",
        (),
        (
            b"\xc0\x80",
            b"\xe0\x80\x80",
            b"\xf0\x80\x80\x80",
            b"\xf8\x80\x80\x80\x80",
            b"\xfc\x80\x80\x80\x80\x80",
        ),
    ),
    (
        "6.20 halves of surrogate pairs",
        (),
        tuple(
            chr(half).encode("utf-8", "surrogatepass")
            for half in (0xD800, 0xDB7F, 0xDB80, 0xDBFF, 0xDC00, 0xDF80, 0xDFFF)
        ),
    ),
    (
        "6.21 surrogate pairs",
        (),
        tuple(
            (chr(high) + chr(low)).encode("utf-8", "surrogatepass")
            for high in (0xD800, 0xDB7F, 0xDB80, 0xDBFF)
            for low in (0xDC00, 0xDFFF)
        ),
    ),
    (
        "6.22 code points that are no characters",
        tuple(chr(plane << 16 | last).encode() for plane in range(17) for last in (0xFFFE, 0xFFFF)),
        (),
    ),
    ("6.23 specials", tuple(chr(point).encode() for point in range(0xFFF9, 0x10000)), ()),
)


def utf8() -> Iterator[tuple[str, Case]]:
    """6: what is text and what is not, whole and however it is cut up."""
    invalid = GREEK + b"\xed\xa0\x80edited"
    beyond = GREEK + b"\xf4\x90\x80\x80edited"
    mixed = "Hello-µ@ßöäüàá-UTF-8!!".encode()
    middle = b"the middle"
    yield "6.1.1 an empty text", (sent(TEXT), [(TEXT, b"")])
    yield "6.1.2 three empty fragments", (fragments(TEXT, b"", b"", b""), [(TEXT, b"")])
    yield "6.1.3 an empty one before and after", (fragments(TEXT, b"", middle, b""), [(TEXT, middle)])
    yield "6.2.1 in one", (sent(TEXT, mixed), [(TEXT, mixed)])
    yield "6.2.2 cut between characters", (fragments(TEXT, mixed[:12], mixed[12:]), [(TEXT, mixed)])
    for number, text in ((3, mixed), (4, GREEK)):
        yield f"6.2.{number} in single bytes", (fragments(TEXT, *singly(text)), [(TEXT, text)])
    yield "6.3.1 half a surrogate pair", (sent(TEXT, invalid), [NOT_UTF8])
    yield "6.3.2 in single bytes", (fragments(TEXT, *singly(invalid)), [NOT_UTF8])
    yield (
        "6.4.1, 6.4.3 a point beyond the last, in the second of three",
        (fragments(TEXT, GREEK, beyond[11:15], beyond[15:]), [NOT_UTF8]),
    )
    yield (
        "6.4.2, 6.4.4 up to the byte that makes it wrong",
        (fragments(TEXT, beyond[:12], beyond[12:13], beyond[13:]), [NOT_UTF8]),
    )
    for name, valid, wrong in _UTF8:
        for text in valid:
            yield f"{name}: {text.hex()}", (sent(TEXT, text), [(TEXT, text)])
            yield f"{name}: {text.hex()} in single bytes", (fragments(TEXT, *singly(text)), [(TEXT, text)])
        for text in wrong:
            yield f"{name}: {text.hex()}", (sent(TEXT, text) + sent(PING), [NOT_UTF8])
            cut = fragments(TEXT, *singly(text)[:MOST_FRAGMENTS])
            yield f"{name}: {text.hex()} in single bytes", (cut, [NOT_UTF8])
            yield f"{name}: {text.hex()} is a binary message", (sent(BINARY, text), [(BINARY, text)])
    cut_off = fragments(TEXT, b"abc", GREEK[:-1])
    yield "+6.1 a text in two that ends within a character", (cut_off + sent(PING), [NOT_UTF8])
    # Each part is no text by itself, and together they are one.
    yield "+6.2 two halves of a character", (fragments(TEXT, b"\xe2\x82", b"\xac"), [(TEXT, "€".encode())])
    yield "+6.3 a text after a text", (sent(TEXT, mixed) + sent(TEXT, invalid), [(TEXT, mixed), NOT_UTF8])


def closing() -> Iterator[tuple[str, Case]]:
    """7: the close frame, and that nothing after it is heard."""
    done: Event = (CLOSE, NORMAL)
    hello = sent(TEXT, HELLO)
    yield "7.1.1 after a text", (hello + close(1000) + hello, [TOLD, done])
    yield "7.1.2 two of them", (close(1000) + sent(CLOSE), [done])
    yield "7.1.3 a ping after it", (close(1000) + sent(PING), [done])
    yield "7.1.4 a text after it", (close(1000) + hello, [done])
    within = sent(TEXT, b"a", final=False) + close(1000) + sent(CONTINUATION, b"b")
    yield "7.1.5 between fragments", (within, [done])
    big = b"BAsd7&jh23" * 6553
    yield "7.1.6 after a long text", (sent(TEXT, big) + hello + close(1000), [(TEXT, big), TOLD, done])
    yield "7.3.1 empty", (sent(CLOSE), [(CLOSE, b"")])
    yield "7.3.2 of one byte", (sent(CLOSE, b"a"), [PROTOCOL_ERROR])
    yield "7.3.3 a code", (close(1000), [done])
    yield "7.3.4 a code and a reason", (close(1000, HELLO), [(CLOSE, NORMAL + HELLO)])
    yield "7.3.5 a reason of 123 bytes", (close(1000, b"*" * 123), [(CLOSE, NORMAL + b"*" * 123)])
    yield "7.3.6 a reason of 124 bytes", (close(1000, b"*" * 124), [PROTOCOL_ERROR])
    yield "7.5.1 a reason that is not text", (close(1000, GREEK + b"\xed\xa0\x80edited"), [NOT_UTF8])
    good = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
    registered = (1012, 1013, 1014)
    for code in good + registered:
        yield f"7.7 code {code}", (close(code), [(CLOSE, struct.pack("!H", code))])
    bad = (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999)
    more = (1, 255, 256, 1015, 1999, 5000, 65535)
    for code in bad + more:
        yield f"7.9, 7.13 code {code}", (close(code), [PROTOCOL_ERROR])
    yield "+7.1 a reason in Greek", (close(4000, GREEK), [(CLOSE, struct.pack("!H", 4000) + GREEK)])
    yield "+7.2 a reason cut within a character", (close(1000, GREEK[:-1]), [NOT_UTF8])
    yield "+7.3 a bad code with a reason that is not text", (close(1005, b"\xff"), [PROTOCOL_ERROR])
    yield "+7.4 rubbish after it", (close(1000) + b"\xff" * 20, [done])


def limits() -> Iterator[tuple[str, Case]]:
    """9: long messages and many; longer than the limit they are refused before they come."""
    for group, opcode, byte in ((1, TEXT, b"*"), (2, BINARY, b"\xfe")):
        full = byte * MOST_BYTES
        yield f"9.{group}.1 as long as may be", (sent(opcode, full), [(opcode, full)])
        for number, power in enumerate((18, 20, 22, 23, 24), 2):
            yield f"9.{group}.{number} 2**{power} bytes", (header(opcode, 1 << power) + KEY, [TOO_BIG])
        yield f"+9.{group}.1 a byte too long", (header(opcode, MOST_BYTES + 1), [TOO_BIG])
        # Small ones meet the limit of fragments first, large ones that of bytes.
        for number, size in enumerate((64, 256, 1024, 4096, 16384), 1):
            frames = sent(opcode, byte * size, final=False)
            frames += sent(CONTINUATION, byte * size, final=False) * (MOST_BYTES // size + 1)
            yield f"9.{group + 2}.{number} without end in fragments of {size}", (frames, [TOO_BIG])
        parts = [byte * 4096] * 16
        yield f"+9.{group}.2 as long as may be, in 16", (fragments(opcode, *parts), [(opcode, full)])
        over = b"".join((sent(opcode, full, final=False), sent(PING), header(CONTINUATION, 1)))
        yield f"+9.{group}.3 one byte more in a second frame", (over, [PINGED, TOO_BIG])
        empty = [b""] * MOST_FRAGMENTS
        wire = fragments(opcode, *empty) + fragments(opcode, *empty)
        yield f"+9.{group}.4 as many fragments as may be, twice", (wire, [(opcode, b"")] * 2)
        yield f"+9.{group}.5 one fragment more", (fragments(opcode, *empty, b""), [TOO_BIG])
        for number, length in enumerate((0, 16, 64, 256, 1024, 4096), 1):
            payload = byte * length
            wire = sent(opcode, payload) * 20
            yield f"9.{group + 6}.{number} twenty of {length} bytes", (wire, [(opcode, payload)] * 20)
    yield (
        "+9.6 a limit is a message's, not a stream's",
        (sent(TEXT, b"*" * 40000) * 3, [(TEXT, b"*" * 40000)] * 3),
    )
    yield (
        "+9.7 pings count for no fragments",
        (
            sent(TEXT, b"a", final=False) + sent(PING) * MOST_FRAGMENTS + sent(CONTINUATION, b"b"),
            [*[PINGED] * MOST_FRAGMENTS, (TEXT, b"ab")],
        ),
    )
    yield (
        "+9.8 nor for the length",
        (
            sent(TEXT, b"*" * MOST_BYTES, final=False) + sent(PING, b"x") + sent(CONTINUATION),
            [(PING, b"x"), (TEXT, b"*" * MOST_BYTES)],
        ),
    )


def singly(text: bytes) -> tuple[bytes, ...]:
    """Byte by byte."""
    return tuple(text[place : place + 1] for place in range(len(text)))


SECTIONS = (framing, pings, reserved_bits, opcodes, fragmentation, utf8, closing, limits)
