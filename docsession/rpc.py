"""JSON-RPC 2.0: text in, calls out; answers in, text out. Knows no product and does no I/O.

An id is kept as the JSON text it came as, so it is echoed to the letter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal, TypeVar

import msgspec

from docsession.errors import DocsessionError, InvalidParams, InvalidRequest, ParseError

__all__ = [
    "Call",
    "Refused",
    "answer",
    "batch",
    "decode_params",
    "encode",
    "error_outcome",
    "notification",
    "parse",
    "raw",
    "result_answer",
    "result_outcome",
]

T = TypeVar("T")

_BLANK = b" \t\r\n"
_MAX_ID = 256
_BRACE = ord("{")
_BEGINS_ID = frozenset(b'"-0123456789')
_PATH = re.compile(r"\A(?P<what>.*?)(?: - at `(?P<path>[^`]*)`)?\Z", re.DOTALL)
_FIELD = re.compile(r"(?:unknown|missing required) field `(.*)`\Z", re.DOTALL)

_encoder = msgspec.json.Encoder()
encode = _encoder.encode
raw = msgspec.Raw  # JSON that is encoded already, to be spliced in as it is


class Call(msgspec.Struct, frozen=True, gc=False):
    """One request, or a notification where ``id`` is None. ``params`` is undecoded JSON."""

    method: str
    params: bytes
    id: bytes | None


class Refused(msgspec.Struct, frozen=True):
    """What was no valid call, and the error to answer it with; a notification (``id`` None)
    is never answered."""

    id: bytes | None
    error: DocsessionError


class _Usual(msgspec.Struct, gc=False):
    """What nearly all calls are."""

    jsonrpc: Literal["2.0"]
    method: str
    params: msgspec.Raw = msgspec.Raw(b"{}")
    id: msgspec.Raw = msgspec.Raw(b"")


class _Envelope(msgspec.Struct):
    jsonrpc: Any = None
    method: Any = None
    params: msgspec.Raw = msgspec.Raw(b"{}")
    id: msgspec.Raw = msgspec.Raw(b"")


_usual = msgspec.json.Decoder(_Usual).decode
_envelope = msgspec.json.Decoder(_Envelope)
_messages = msgspec.json.Decoder(list[msgspec.Raw])
_anything = msgspec.json.Decoder(msgspec.Raw)


def _call(payload: bytes) -> Call | None:
    """None for what is no object of that kind, or has params or an id that are no good."""
    try:
        usual = _usual(payload)
    except msgspec.ValidationError:
        return None
    params, call_id = bytes(usual.params), bytes(usual.id)
    if params[0] == _BRACE and (not call_id or (call_id[0] in _BEGINS_ID and len(call_id) <= _MAX_ID)):
        return Call(usual.method, params, call_id or None)
    return None


def parse(payload: bytes, most: int) -> Call | Refused | list[Call | Refused]:
    """The call in one message; a list of them where it was a batch.

    What cannot be read at all is one :class:`Refused` with id null, and no batch.
    """
    try:
        # Strings are kept as they came, so nobody looks at their bytes again.
        _ = payload.isascii() or payload.decode()
        call = _call(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Refused(b"null", ParseError("this is not JSON"))
    # None: a batch, or something to refuse with the right words.
    return call or _unusual(payload, most)


def _unusual(payload: bytes, most: int) -> Call | Refused | list[Call | Refused]:
    try:
        if not payload.lstrip(_BLANK).startswith(b"["):
            return _one(msgspec.Raw(payload))
        messages = _messages.decode(payload)
        if not messages:
            return Refused(b"null", InvalidRequest("an empty batch"))
        if len(messages) > most:
            return Refused(b"null", InvalidRequest(f"a batch of more than {most}"))
        return [_one(message) for message in messages]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Refused(b"null", ParseError("this is not JSON"))


def _one(message: msgspec.Raw) -> Call | Refused:
    if (call := _call(message)) is not None:
        return call
    try:
        envelope = _envelope.decode(message)
    except msgspec.ValidationError:
        _anything.decode(message)  # it gave up at the first byte: what follows may not be JSON
        return Refused(b"null", InvalidRequest("a request is a JSON object"))
    call_id = bytes(envelope.id)
    if call_id and (call_id[0] not in _BEGINS_ID or len(call_id) > _MAX_ID):
        return Refused(b"null", InvalidRequest(f"an id is a string or a number of at most {_MAX_ID} bytes"))
    shown = call_id or b"null"
    if envelope.jsonrpc != "2.0":
        return Refused(shown, InvalidRequest('"jsonrpc" must be "2.0"'))
    if not isinstance(envelope.method, str):
        return Refused(shown, InvalidRequest('"method" must be a string'))
    params = bytes(envelope.params)
    if params.startswith(b"["):
        return Refused(call_id or None, InvalidParams("params are given by name, in an object"))
    if not params.startswith(b"{"):
        return Refused(shown, InvalidRequest('"params" must be an object'))
    return Call(envelope.method, params, call_id or None)


def decode_params(params: bytes, into: type[T]) -> T:
    """Decode strictly. Raises :class:`InvalidParams` naming the failing path."""
    try:
        return msgspec.json.decode(params, type=into, strict=True)
    except msgspec.ValidationError as error:
        match = _PATH.match(str(error))
        what, path = (match["what"], match["path"]) if match else (str(error), None)
        path = path or "$"
        named = _FIELD.search(what)
        raise InvalidParams(what, path=f"{path}.{named[1]}" if named else path) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidParams("this is not JSON") from None


def result_outcome(result: bytes) -> bytes:
    """The part of an answer that says it went well; ``result`` is JSON."""
    return b'"result":' + result


def error_outcome(error: DocsessionError) -> bytes:
    """The part of an answer that says it did not."""
    return b'"error":' + encode({"code": error.code, "message": error.message, "data": error.data})


def answer(call_id: bytes, outcome: bytes) -> bytes:
    """A whole answer."""
    return b"".join((b'{"jsonrpc":"2.0","id":', call_id, b",", outcome, b"}"))


def result_answer(call_id: bytes, result: bytes) -> bytes:
    """A whole answer that says it went well; ``result`` is JSON, and copied only once."""
    return b"".join((b'{"jsonrpc":"2.0","id":', call_id, b',"result":', result, b"}"))


def batch(answers: Iterable[bytes]) -> bytes:
    """Answers to a batch, in one message."""
    return b"[" + b",".join(answers) + b"]"


def notification(method: str, params: Any) -> bytes:
    """A message from the server that wants no answer."""
    return encode({"jsonrpc": "2.0", "method": method, "params": params})
