"""Answers of Google's side: the whole of each, before any of it is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
from twisted.web.iweb import IRequest
from twisted.web.server import GzipEncoderFactory

__all__ = ["JSON", "Answer", "json_answer", "send"]

JSON = "application/json; charset=UTF-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back."""

    status: int = 200
    body: bytes = b""
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


def json_answer(value: object, *, status: int = 200, pretty: bool = False) -> Answer:
    """An answer in JSON."""
    body = msgspec.json.encode(value)
    return Answer(status, msgspec.json.format(body, indent=2) + b"\n" if pretty else body)


def send(request: IRequest, answer: Answer) -> bytes:
    """Set status and headers; the bytes that the route is to return."""
    request.setResponseCode(answer.status)
    headers = request.responseHeaders
    headers.setRawHeaders("Cache-Control", ["no-cache, no-store, max-age=0, must-revalidate"])
    headers.setRawHeaders("Vary", ["Origin, X-Origin, Accept-Encoding"])
    headers.setRawHeaders("X-Content-Type-Options", ["nosniff"])
    for name, value in answer.headers.items():
        headers.setRawHeaders(name, [value])
    if answer.status in (204, 304):
        headers.removeHeader("Content-Type")
        return b""
    headers.setRawHeaders("Content-Type", [answer.content_type])
    body = answer.body
    if answer.content_type == JSON:
        encoder = GzipEncoderFactory().encoderForRequest(request)
        if encoder is not None:
            body = encoder.encode(body) + encoder.finish()
    headers.setRawHeaders("Content-Length", [str(len(body))])
    return body
