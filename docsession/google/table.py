"""Drive v3's methods as Google publishes them, read once from ``drive_v3.json``.

``scripts/make_drive_table.py`` makes that file. Nothing here judges a request.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType

import msgspec

__all__ = ["COSTS", "TABLE", "DriveMethod", "DriveTable", "Parameter", "Shape", "load"]

# Google's quota units by kind of request. Reading bytes (``alt=media``) is a download
# whatever method it is asked of.
COSTS: Mapping[str, int] = MappingProxyType({"read": 5, "edit": 50, "list": 100, "download": 200})


class Shape(msgspec.Struct, frozen=True, rename="camel"):
    """What a value in a request body may be.

    ``required_by`` are the methods that want it there.
    """

    type: str | None = None
    format: str | None = None
    enum: tuple[str, ...] | None = None
    ref: str | None = msgspec.field(default=None, name="$ref")
    items: Shape | None = None
    properties: Mapping[str, Shape] | None = None
    additional_properties: Shape | None = None
    required_by: tuple[str, ...] = ()


class Parameter(msgspec.Struct, frozen=True):
    """What a parameter may be. ``instead`` is the one that a deprecated one gave way to."""

    location: str
    type: str
    format: str | None = None
    required: bool = False
    repeated: bool = False
    enum: tuple[str, ...] | None = None
    minimum: int | None = None
    maximum: int | None = None
    default: str | None = None
    deprecated: bool = False
    instead: str | None = None


class DriveMethod(msgspec.Struct, frozen=True):
    """One method. ``path`` is a template under the service path; ``body`` and ``response``
    are names of schemas; ``scopes`` are whole, any one of them is enough."""

    id: str
    http_method: str
    path: str
    parameters: Mapping[str, Parameter]
    scopes: tuple[str, ...]
    body: str | None
    response: str | None
    media_download: bool
    media_upload: bool

    @property
    def takes_body(self) -> bool:
        """Whether a request body means anything to it."""
        return self.body is not None

    @property
    def is_write(self) -> bool:
        """Whether doing it twice may differ from doing it once."""
        return self.http_method != "GET"

    @property
    def cost(self) -> int:
        """Google's quota units for one request."""
        verb = self.id.rpartition(".")[2]
        if verb in ("export", "download"):
            return COSTS["download"]
        if verb.startswith("list"):
            return COSTS["list"]
        return COSTS["edit"] if self.is_write else COSTS["read"]


class DriveTable(msgspec.Struct, frozen=True):
    """All methods by id, and the schemas (by name, then property) that their bodies reach."""

    revision: str
    service_path: str
    global_parameters: frozenset[str]
    methods: Mapping[str, DriveMethod]
    schemas: Mapping[str, Mapping[str, Shape]]


class _Method(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    http_method: str
    path: str
    parameters: dict[str, Parameter]
    scopes: tuple[str, ...]
    request: str | None = None
    response: str | None = None
    media_download: bool = False
    media_upload: bool = False


class _File(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    revision: str
    service_path: str
    scope_prefix: str
    global_parameters: frozenset[str]
    methods: dict[str, _Method]
    schemas: dict[str, dict[str, Shape]]


def load(content: bytes) -> DriveTable:
    """The table from the bytes of its file."""
    read = msgspec.json.decode(content, type=_File)
    methods = {
        method_id: DriveMethod(
            id=method_id,
            http_method=method.http_method,
            path=method.path,
            parameters=MappingProxyType(method.parameters),
            scopes=tuple(read.scope_prefix + scope for scope in method.scopes),
            body=method.request,
            response=method.response,
            media_download=method.media_download,
            media_upload=method.media_upload,
        )
        for method_id, method in read.methods.items()
    }
    return DriveTable(
        revision=read.revision,
        service_path=read.service_path,
        global_parameters=read.global_parameters,
        methods=MappingProxyType(methods),
        schemas=MappingProxyType({name: MappingProxyType(shape) for name, shape in read.schemas.items()}),
    )


TABLE = load(resources.files("docsession.google").joinpath("drive_v3.json").read_bytes())
