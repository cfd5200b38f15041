"""What RFC 6455 puts on the wire after the handshake: frames read into messages, messages written as frames.

The server's side of it, without extensions and without a transport: bytes in, messages out. What a
reader says of a stream does not depend on how the stream was cut up on its way.
"""

from __future__ import annotations

__all__ = [
    "BINARY",
    "CLOSE",
    "PING",
    "PONG",
    "TEXT",
    "VIOLATION",
    "FrameReader",
    "close_code",
    "close_frame",
    "frame",
]

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
VIOLATION = -1

_CONTINUATION = 0
_FINAL = 0x80
_MASKED = 0x80
_OPCODE = 0x0F
_RESERVED_BITS = 0x70
_WHOLE_TEXT = _FINAL | TEXT

_PROTOCOL_ERROR = 1002
_NOT_UTF8 = 1007
_TOO_BIG = 1009

_MOST_IN_CONTROL = 125
# Those of the protocol and its registry that may be in a close frame.
_CODES = frozenset((1000, 1001, 1002, 1003, *range(1007, 1015)))

_int = int.from_bytes  # looked up once: it is a tenth of what a short message costs
# A mask is repeated by multiplying with these, over the mask itself and a payload after it: quicker
# than by way of bytes, for the lengths that requests mostly have.
_MOST_ONES = 129
_ONES = tuple(_int(b"\1\0\0\0" * words, "little") for words in range(_MOST_ONES))


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """One whole frame as a server sends it: final and not masked."""
    length = len(payload)
    first = _FINAL | opcode
    if length <= _MOST_IN_CONTROL:
        return (first << 8 | length).to_bytes(2, "big") + payload
    if opcode >= CLOSE:
        raise ValueError("a control frame holds no more than 125 bytes")
    if length < 0x10000:
        return (first << 24 | 126 << 16 | length).to_bytes(4, "big") + payload
    return (first << 72 | 127 << 64 | length).to_bytes(10, "big") + payload


def close_frame(code: int | None, reason: str = "") -> bytes:
    """A close frame; of the reason as many whole characters as fit. Without a code there is none."""
    if code is None:
        return frame(b"", CLOSE)
    fitting = reason.encode("utf-8", "replace")[: _MOST_IN_CONTROL - 2].decode("utf-8", "ignore")
    return frame(code.to_bytes(2, "big") + fitting.encode(), CLOSE)


def close_code(payload: bytes) -> int | None:
    """The code that a valid close frame gives, if it gives one."""
    return _int(payload[:2], "big") if payload else None


class _Broken(Exception):
    """The client does not keep to the protocol, or asks too much."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.payload = code.to_bytes(2, "big") + reason.encode()


class _Message:
    """One that is not whole yet."""

    __slots__ = ("fragments", "opcode", "payload")

    def __init__(self, opcode: int) -> None:
        self.opcode = opcode
        self.payload = bytearray()
        self.fragments = 0


class FrameReader:
    """Reads what one client sends. Between messages it holds no memory but its own."""

    __slots__ = ("_message", "_most", "_most_fragments", "_need", "_rest")

    def __init__(self, most_message_bytes: int, most_fragments: int = 1000) -> None:
        self._most = most_message_bytes
        self._most_fragments = most_fragments
        self._message: _Message | None = None
        # A frame that has not come whole, and how much of it must be there to go on; -1: it is over.
        self._rest: bytes | bytearray = b""
        self._need = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """What these bytes complete: messages and control frames, ``CLOSE`` or ``VIOLATION`` the last."""
        if self._need:
            data = self._gathered(data)
        found: list[tuple[int, bytes]] = []
        at, end, need = 0, len(data), 2
        try:
            while end - at >= 2:
                first = data[at]
                second = data[at + 1]
                length = second & 0x7F
                key = at + 2
                if length > _MOST_IN_CONTROL:
                    key = at + (4 if length == 126 else 10)
                    if key > end:
                        need = key - at
                        break
                    length = _int(data[at + 2 : key], "big")
                    if length < 126 or key - at > 4:
                        _check_long(length, 126 if key - at == 4 else 0x10000)
                if (
                    first != _WHOLE_TEXT
                    or second < _MASKED
                    or length > self._most
                    or self._message is not None
                ):
                    self._check(first, second, length)
                stop = key + 4 + length
                if stop > end:
                    need = stop - at
                    break
                # The mask stands before the payload, and is one with it here: both begin with a whole word.
                words = (stop - key + 3) >> 2
                masked = _int(data[key:stop], "little")
                if words < _MOST_ONES:
                    mask = (masked & 0xFFFFFFFF) * _ONES[words]
                else:
                    mask = _int(data[key : key + 4] * words, "little")
                payload = (masked ^ mask).to_bytes(words << 2, "little")[4 : stop - key]
                at = stop
                if first == _WHOLE_TEXT:
                    if not payload.isascii():
                        _check_utf8(payload)
                    found.append((TEXT, payload))
                elif first & _OPCODE >= CLOSE:
                    if first & _OPCODE == CLOSE:
                        _check_close(payload)
                        self.end()
                        at = end
                    found.append((first & _OPCODE, payload))
                elif message := self._joined(first, payload):
                    found.append(message)
        except _Broken as broken:
            self.end()
            at = end
            found.append((VIOLATION, broken.payload))
        if at < end:
            self._rest = bytearray(data[at:])
            self._need = need
        return found

    def _gathered(self, data: bytes) -> bytes:
        """What has waited and this, once it is enough to go on with; nothing until then."""
        if self._need < 0:
            return b""
        rest = self._rest
        rest += data
        if len(rest) < self._need:
            return b""
        self._rest = b""
        self._need = 0
        return bytes(rest)

    def end(self) -> None:
        """Nothing more is read, and nothing held."""
        self._message = None
        self._rest = b""
        self._need = -1

    def _check(self, first: int, second: int, length: int) -> None:
        """A frame may come as its header says."""
        opcode = first & _OPCODE
        message = self._message
        if first & _RESERVED_BITS:
            raise _Broken(_PROTOCOL_ERROR, "reserved bits are set")
        if second < _MASKED:
            raise _Broken(_PROTOCOL_ERROR, "a frame that is not masked")
        if opcode >= CLOSE:
            if opcode > PONG:
                raise _Broken(_PROTOCOL_ERROR, "a reserved opcode")
            if first < _FINAL:
                raise _Broken(_PROTOCOL_ERROR, "a control frame in fragments")
            if length > _MOST_IN_CONTROL:
                raise _Broken(_PROTOCOL_ERROR, "a control frame over 125 bytes")
            return
        if opcode > BINARY:
            raise _Broken(_PROTOCOL_ERROR, "a reserved opcode")
        if opcode == _CONTINUATION:
            if message is None:
                raise _Broken(_PROTOCOL_ERROR, "there is no message to go on with")
            if message.fragments >= self._most_fragments:
                raise _Broken(_TOO_BIG, "a message in too many fragments")
            length += len(message.payload)
        elif message is not None:
            raise _Broken(_PROTOCOL_ERROR, "a message within another")
        if length > self._most:
            raise _Broken(_TOO_BIG, "a message over the limit")

    def _joined(self, first: int, payload: bytes) -> tuple[int, bytes] | None:
        """The message, if this was its last fragment."""
        message = self._message
        if message is None:
            message = self._message = _Message(first & _OPCODE)
        message.payload += payload
        message.fragments += 1
        if first < _FINAL:
            return None
        self._message = None
        if message.opcode == TEXT:
            _check_utf8(message.payload)
        return message.opcode, bytes(message.payload)


def _check_long(length: int, least: int) -> None:
    """It did not fit into a header's second byte, nor, where it took eight more, into two."""
    if length >> 63:
        raise _Broken(_PROTOCOL_ERROR, "a length with its highest bit set")
    if length < least:
        raise _Broken(_PROTOCOL_ERROR, "a length in more bytes than it needs")


def _check_utf8(text: bytes | bytearray) -> None:
    try:
        text.decode()
    except UnicodeDecodeError:
        raise _Broken(_NOT_UTF8, "text that is not UTF-8") from None


def _check_close(payload: bytes) -> None:
    code = close_code(payload)
    if code is None:
        return
    # Half a code is read as a number under 256, which is none either.
    if not (code in _CODES or 3000 <= code < 5000):
        raise _Broken(_PROTOCOL_ERROR, "a close code that may not be sent")
    _check_utf8(payload[2:])
