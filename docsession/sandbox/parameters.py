"""Parameters of an OAuth request: from the query or the form, each of them once."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

from twisted.web.iweb import IRequest

__all__ = ["Parameters", "RepeatedParameter", "form_of", "query_of"]

_FORM = b"application/x-www-form-urlencoded"
_MOST_FIELDS = 500


class RepeatedParameter(ValueError):
    """A parameter that may be there once is there more often; ``args[0]`` names it."""


class Parameters:
    """Names and values. What is empty counts as missing, as RFC 6749 §3.1 has it."""

    def __init__(self, encoded: str) -> None:
        self.encoded = encoded
        try:
            self._values: Mapping[str, list[str]] = parse_qs(encoded, max_num_fields=_MOST_FIELDS)
        except ValueError:
            self._values = {}

    def get(self, name: str) -> str:
        """The value, or an empty string. Raises RepeatedParameter."""
        values = self._values.get(name, [""])
        if len(values) > 1:
            raise RepeatedParameter(name)
        return values[0]

    def all(self, name: str) -> list[str]:
        """Every value of a field that may be there more than once."""
        return list(self._values.get(name, []))


def query_of(request: IRequest) -> Parameters:
    """What stands in the URL."""
    return Parameters(urlsplit(request.uri.decode("latin-1")).query)


def form_of(request: IRequest) -> Parameters:
    """What stands in the body; nothing unless it is a form."""
    content_type = request.requestHeaders.getRawHeaders(b"Content-Type", [b""])[-1]
    if content_type.partition(b";")[0].strip().lower() != _FORM:
        return Parameters("")
    request.content.seek(0)
    return Parameters(request.content.read().decode("utf-8", "replace"))
