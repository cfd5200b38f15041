"""The daemon's configuration: TOML in, frozen sections out, every default and every check.

Unknown keys and wrong values stop the start with one line (:class:`ConfigError`). Nothing
here opens a file but the configuration itself and the secret files it names.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import tomllib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

from docsession.errors import ConfigError
from docsession.origins import exact_origin, is_loopback, origin_of, site_of, split

__all__ = [
    "Config",
    "Google",
    "GoogleEndpoints",
    "Limits",
    "Polling",
    "Quota",
    "Server",
    "Sessions",
    "is_loopback",
    "load",
    "origin_of",
    "parse",
    "sandboxed",
]

# TOML knows inf and nan; both have an upper bound, so that they are refused.
Seconds = Annotated[float, msgspec.Meta(gt=0, le=10**9)]
Count = Annotated[int, msgspec.Meta(ge=1, le=2**50)]

DRIVE_SCOPE = "https://www.googleapis.com/auth/drive"
SANDBOX_CLIENT_ID = "docsession-sandbox"


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of the file."""


class Server(Section, frozen=True):
    """Where the daemon listens and who may talk to it."""

    listen: str = "tcp:8765:interface=127.0.0.1"
    admin_listen: str = "tcp:8767:interface=127.0.0.1"
    public_url: str = "http://127.0.0.1:8765"
    allowed_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    state_directory: str = "docsession-state"
    demo: bool = False
    keys_file: str | None = None

    @property
    def callback_url(self) -> str:
        """Where Google sends the browser back to; the redirect URI of the Google project."""
        return f"{self.public_url}/api/oauth/callback"

    @property
    def origins(self) -> frozenset[str]:
        """Exactly these may open a socket; the public URL's own is always one."""
        return frozenset({origin_of(self.public_url), *self.allowed_origins})


class GoogleEndpoints(Section, frozen=True):
    """Where Google is. Only a stand-in for Google ever changes these."""

    issuer: str = "https://accounts.google.com"
    authorization: str = "https://accounts.google.com/o/oauth2/v2/auth"
    token: str = "https://oauth2.googleapis.com/token"  # noqa: S105 - a URL
    revocation: str = "https://oauth2.googleapis.com/revoke"
    certificates: str = "https://www.googleapis.com/oauth2/v1/certs"
    api: str = "https://www.googleapis.com"

    @classmethod
    def at(cls, base_url: str) -> GoogleEndpoints:
        """The endpoints of a stand-in that serves Google's paths under one base URL."""
        return cls(
            issuer=base_url,
            authorization=f"{base_url}/o/oauth2/v2/auth",
            token=f"{base_url}/token",
            revocation=f"{base_url}/revoke",
            certificates=f"{base_url}/oauth2/v1/certs",
            api=base_url,
        )


class Quota(Section, frozen=True):
    """What Google lets the project ask. ``queries`` is how older projects are counted: each request
    is one, whatever it is. ``per_day`` 0: no limit of a day."""

    model: Literal["units", "queries"] = "units"
    per_project_per_minute: Count = 1_000_000
    per_user_per_minute: Count = 325_000
    per_day: Annotated[int, msgspec.Meta(ge=0, le=2**50)] = 400_000_000
    ceiling: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.8


class Google(Section, frozen=True):
    """The Google project in whose name the daemon asks."""

    client_id: str = ""
    client_secret_file: str | None = None
    scopes: tuple[str, ...] = ()
    endpoints: GoogleEndpoints = GoogleEndpoints()
    quota: Quota = Quota()
    in_flight: Count = 32
    in_flight_per_user: Count = 6
    media_in_flight: Count = 16
    media_in_flight_per_user: Count = 2
    answer_within: Seconds = 30
    media_silence: Seconds = 60
    tries: Count = 4
    keep_grant_after_sign_out: Seconds = 30 * 86400
    allow_empty_trash: bool = False
    allow_delete_drives: bool = False
    allow_transfer_ownership: bool = False
    allow_domain_admin: bool = False


class Sessions(Section, frozen=True):
    """How long things live."""

    idle: Seconds = 30 * 86400
    absolute: Seconds = 180 * 86400
    linger: Seconds = 300
    fresh_cookie: Seconds = 600
    sign_in_within: Seconds = 600
    journal: Seconds = 86400


class Limits(Section, frozen=True):
    """Bounds. Over one there is an error with a name or a close code, never silence."""

    message_bytes: Count = 64 * 1024
    answer_bytes: Count = 8 * 1024 * 1024
    calls_in_flight: Count = 32
    calls_per_second: Seconds = 50
    calls_burst: Count = 200
    batch: Count = 32
    watches_per_connection: Count = 200
    listings_per_connection: Count = 20
    connections_per_session: Count = 32
    connections_per_user: Count = 128
    connections: Count = 20_000
    unsent_notification_bytes: Count = 256 * 1024
    unsent_answer_bytes: Count = 8 * 1024 * 1024
    new_cookies_burst: Count = 100
    new_cookies_per_second: Seconds = 1
    cached_bytes_per_user: Count = 4 * 1024 * 1024
    cached_bytes: Count = 512 * 1024 * 1024
    open_within: Seconds = 10
    ping_every: Seconds = 25
    pong_within: Seconds = 10
    heartbeat: Seconds = 40


class Polling(Section, frozen=True):
    """How often Google is looked at."""

    visible: Seconds = 5
    visible_with_push: Seconds = 60
    hidden: Seconds = 60
    hidden_with_push: Seconds = 300
    jitter: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.2
    feed: Seconds = 60
    comments: Seconds = 900
    proof: Seconds = 600
    cache: Seconds = 120
    believe_older_after: Seconds = 60


class Push(Section, frozen=True):
    """Push channels: Google tells us of changes at ``url``, where that is given."""

    url: str | None = None
    life: Annotated[float, msgspec.Meta(ge=600, le=604_800)] = 604_800
    renew_at: Annotated[float, msgspec.Meta(gt=0, le=0.9)] = 0.8
    openings_per_second: Seconds = 2


class Config(Section, frozen=True):
    """Everything. ``secret`` and ``keys`` come from files or the environment only."""

    server: Server = Server()
    google: Google = Google()
    sessions: Sessions = Sessions()
    limits: Limits = Limits()
    polling: Polling = Polling()
    push: Push = Push()


class Secrets(msgspec.Struct, frozen=True):
    """What must not stand in the configuration file."""

    client_secret: str
    keys: tuple[str, ...] | None

    def __repr__(self) -> str:
        return "<Secrets>"


def load(path: Path | None, environ: Mapping[str, str] = os.environ) -> tuple[Config, Secrets]:
    """Read a configuration file (or none: all defaults) and the secrets it points to.

    Raises :class:`ConfigError` with one line that names file, key and trouble.
    """
    if path is None:
        config, base = Config(), Path.cwd()
    else:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read: {error}") from None
        try:
            config = parse(text)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None
        base = path.resolve().parent
    return config, Secrets(
        client_secret=_secret(
            "google.client_secret_file",
            config.google.client_secret_file,
            "DOCSESSION_CLIENT_SECRET",
            base,
            environ,
        ),
        keys=tuple(
            _secret("server.keys_file", config.server.keys_file, "DOCSESSION_KEYS", base, environ).split()
        )
        or None,
    )


def parse(text: str) -> Config:
    """Decode and check TOML text."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not TOML: {error}") from None
    _refuse_unknown(raw, Config, "")
    try:
        config = msgspec.convert(raw, Config, strict=True)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        raise ConfigError(f"{where.rstrip('`') or 'configuration'}: {what}") from None
    check(config)
    return config


def sandboxed(config: Config, base_url: str) -> Config:
    """The same configuration, with the sandbox as its Google."""
    if exact_origin("--sandbox-url", base_url).scheme != "http":
        raise ConfigError(f"--sandbox-url: {base_url!r} must be http")
    if not is_loopback(urlsplit(config.server.public_url).hostname or ""):
        raise ConfigError("--sandbox: server.public_url is not a loopback address; a sandbox stays at home")
    if config.google.client_id and config.google.client_id != SANDBOX_CLIENT_ID:
        raise ConfigError("--sandbox: the configuration names a real google.client_id; leave one of them out")
    return msgspec.structs.replace(
        config,
        server=msgspec.structs.replace(config.server, demo=True),
        google=msgspec.structs.replace(
            config.google,
            client_id=SANDBOX_CLIENT_ID,
            scopes=config.google.scopes or (DRIVE_SCOPE,),
            endpoints=GoogleEndpoints.at(base_url),
        ),
    )


def check(config: Config) -> None:
    """What types alone cannot say. Raises :class:`ConfigError`."""
    public = exact_origin("server.public_url", config.server.public_url)
    if public.scheme == "http" and not is_loopback(public.hostname or ""):
        raise ConfigError("server.public_url: http is accepted on a loopback host only; use https")
    for number, origin in enumerate(config.server.allowed_origins):
        where = f"server.allowed_origins[{number}]"
        if site_of(exact_origin(where, origin)) != site_of(public):
            raise ConfigError(
                f"{where}: {origin!r} is another site than server.public_url; browsers send it no cookie"
            )
    for number, proxy in enumerate(config.server.trusted_proxies):
        try:
            ipaddress.ip_network(proxy)
        except ValueError:
            raise ConfigError(
                f"server.trusted_proxies[{number}]: {proxy!r} is no address or network"
            ) from None
    for name in GoogleEndpoints.__struct_fields__:
        where = f"google.endpoints.{name}"
        url = split(where, getattr(config.google.endpoints, name))
        if url.scheme != "https" and not is_loopback(url.hostname or ""):
            raise ConfigError(f"{where}: must be https")
    if config.push.url is not None:
        exact_origin("push.url", config.push.url)
    if config.sessions.idle > config.sessions.absolute:
        raise ConfigError("sessions.idle: longer than sessions.absolute")
    if config.limits.heartbeat <= config.limits.ping_every:
        raise ConfigError("limits.heartbeat: must be longer than limits.ping_every")


def check_startable(config: Config, secrets: Secrets) -> None:
    """What a daemon needs beyond a well-formed file."""
    if not config.google.client_id:
        raise ConfigError("google.client_id: missing; see the README, or try --sandbox")
    if not config.google.scopes:
        raise ConfigError("google.scopes: missing; the example configuration says what each costs")
    push, api = urlsplit(config.push.url or "https:"), urlsplit(config.google.endpoints.api)
    if push.scheme != "https" and not (is_loopback(push.hostname or "") and is_loopback(api.hostname or "")):
        raise ConfigError("push.url: must be https, for Google posts to nothing else")
    if not secrets.client_secret:
        raise ConfigError("google.client_secret_file: missing; name a file, or set DOCSESSION_CLIENT_SECRET")


def _refuse_unknown(table: Mapping[str, Any], section: type[Section], where: str) -> None:
    types = typing.get_type_hints(section)
    for key, value in table.items():
        if key not in types:
            near = difflib.get_close_matches(key, types, n=1, cutoff=0.5)
            hint = f"; did you mean {where}{near[0]}?" if near else f"; known here: {', '.join(types)}"
            raise ConfigError(f"{where}{key}: there is no such setting{hint}")
        if isinstance(types[key], type) and issubclass(types[key], Section) and isinstance(value, dict):
            _refuse_unknown(value, types[key], f"{where}{key}.")


def _secret(where: str, file: str | None, variable: str, base: Path, environ: Mapping[str, str]) -> str:
    given = environ.get(variable, "")
    if file is None:
        return given.strip()
    if given:
        raise ConfigError(f"{where}: also in the environment as {variable}; use one of them")
    path = base / file
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where}: {path} cannot be read: {error}") from None
    if not secret:
        raise ConfigError(f"{where}: {path} is empty")
    return secret
