"""Batches: many calls in one request, each metered, refused and answered as if it had come alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from random import Random
from typing import cast
from urllib.parse import parse_qs

from twisted.internet.defer import Deferred, FirstError, gatherResults, succeed
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.web.client import readBody
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer, IRequest
from twisted.web.resource import IResource
from twisted.web.server import Request
from zope.interface import implementer

from docsession.sandbox.answers import JSON, Answer, json_answer, send
from docsession.sandbox.direct import DirectAgent
from docsession.sandbox.errors import DriveError, bad_request, no_such_path
from docsession.sandbox.multipart import Part, header_lines, split

__all__ = ["MOST_CALLS", "Batch"]

MOST_CALLS = 100
_MOST_BYTES = 20_000_000
_MOST_URL = 8000
_LINE = re.compile(r"\A([A-Z]{1,10}) (\S+)(?: HTTP/1\.[01])?\Z")
_BLANK = re.compile(rb"\r?\n\r?\n")
_NOT_PASSED_ON = frozenset({"accept-encoding", "connection", "content-length", "content-type", "host"})
_NOT_PASSED_BACK = frozenset({b"connection", b"date", b"server", b"transfer-encoding", b"content-length"})


class Batch:
    """Answers batches over the resource that serves single calls."""

    def __init__(self, resource: IResource, clock: IReactorTime, rng: Random) -> None:
        self._agent = DirectAgent(resource, clock)
        self._rng = rng

    async def answer(self, request: IRequest) -> bytes:
        """The answers to all, in the order of the calls. Raises a 400 for what is no batch."""
        raw = request.content.read(_MOST_BYTES + 1)
        if len(raw) > _MOST_BYTES:
            raise DriveError(413, "uploadTooLarge", "The batch is too large.")
        calls = split(raw, request.getHeader("Content-Type") or "")
        if len(calls) > MOST_CALLS:
            raise bad_request(f"The batch size is limited to {MOST_CALLS} calls.")
        outer = {
            name.decode("latin-1").lower(): values[-1].decode("latin-1")
            for name, values in request.requestHeaders.getAllRawHeaders()
        }
        asked = [Deferred.fromCoroutine(self._one(call, outer)) for call in calls]
        try:
            answers = await gatherResults(asked, consumeErrors=True)
        except FirstError:
            # A line that breaks under one of them breaks under all.
            for each in asked:
                each.cancel()
            cast(Request, request).loseConnection()
            never: Deferred[bytes] = Deferred()
            return await never
        boundary = f"batch_{self._rng.getrandbits(128):032x}"
        body = b"".join(_shown(boundary, call, answer) for call, answer in zip(calls, answers, strict=True))
        body += f"--{boundary}--\r\n".encode()
        return send(request, Answer(200, body, f"multipart/mixed; boundary={boundary}"))

    async def _one(self, call: Part, outer: Mapping[str, str]) -> bytes:
        try:
            method, path, headers, body = _read(call)
        except DriveError as refusal:
            refused = json_answer(refusal.body, status=refusal.status, pretty=True)
            kind = {b"Content-Type": JSON.encode()}
            return b"".join(_lines(refused.status, b"Refused", kind, refused.body))
        passed = {name: value for name, value in outer.items() if name not in _NOT_PASSED_ON} | headers
        producer = _Whole(body) if body else None
        response = await self._agent.request(
            method.encode(),
            b"http://" + outer.get("host", "").encode("latin-1") + path.encode("latin-1"),
            Headers({name: [value] for name, value in passed.items()}),
            producer,
        )
        said = {
            name: values[-1]
            for name, values in response.headers.getAllRawHeaders()
            if name.lower() not in _NOT_PASSED_BACK
        }
        return b"".join(_lines(response.code, response.phrase, said, await readBody(response)))


def _read(call: Part) -> tuple[str, str, dict[str, str], bytes]:
    """Verb, path, headers and body of one call."""
    blank = _BLANK.search(call.body)
    head, body = (call.body, b"") if blank is None else (call.body[: blank.start()], call.body[blank.end() :])
    first, _, rest = head.strip().partition(b"\n")
    line = _LINE.match(first.decode("latin-1").strip())
    if line is None:
        raise bad_request("Failed to parse batch request: no request line.")
    method, path = line[1], line[2]
    if len(path) > _MOST_URL:
        raise DriveError(414, "badRequest", "The inner URL is too long.")
    if not path.startswith("/"):
        raise bad_request("The URL of an inner call must be a path only.")
    place, _, query = path.partition("?")
    if not place.startswith("/drive/v3/"):
        raise no_such_path()
    if place.endswith("/export") or "media" in parse_qs(query).get("alt", []):
        raise bad_request("Media cannot be uploaded, downloaded or exported in a batch.")
    headers = {
        name: value
        for name, value in header_lines(rest).items()
        if name not in _NOT_PASSED_ON or name == "content-type"
    }
    return method, path, headers, body


def _lines(status: int, phrase: bytes, headers: Mapping[bytes, bytes], body: bytes) -> Iterator[bytes]:
    yield b"HTTP/1.1 %d %s\r\n" % (status, phrase)
    for name, value in headers.items():
        yield name + b": " + value + b"\r\n"
    yield b"Content-Length: %d\r\n\r\n" % len(body)
    yield body


def _shown(boundary: str, call: Part, answer: bytes) -> bytes:
    head = f"--{boundary}\r\nContent-Type: application/http\r\n"
    name = call.headers.get("content-id", "")
    if name.startswith("<"):
        head += f"Content-ID: <response-{name[1:]}\r\n"
    elif name:
        head += f"Content-ID: response-{name}\r\n"
    return head.encode("latin-1") + b"\r\n" + answer + b"\r\n"


@implementer(IBodyProducer)
class _Whole:
    """The body of one call."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.length = len(body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """All of it at once."""
        consumer.write(self.body)
        return succeed(None)

    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...

    def stopProducing(self) -> None: ...
