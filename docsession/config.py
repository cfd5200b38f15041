"""The daemon's configuration: frozen sections, with every default.

How they are read from TOML, and checked, is in :mod:`docsession.config_file`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from docsession.origins import origin_of

__all__ = [
    "UNIX",
    "Backend",
    "Config",
    "Google",
    "GoogleEndpoints",
    "Limits",
    "Polling",
    "Push",
    "Quota",
    "Secrets",
    "Section",
    "Server",
    "Sessions",
]

# TOML knows inf and nan; both have an upper bound, so that they are refused.
Seconds = Annotated[float, msgspec.Meta(gt=0, le=10**9)]
Count = Annotated[int, msgspec.Meta(ge=1, le=2**50)]


# Among the trusted proxies: whoever reaches a listener that is a unix socket.
UNIX = "unix"


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
    serve_stale: Annotated[float, msgspec.Meta(ge=0, le=10**9)] = 0
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
    accepts_per_second: Seconds = 400
    opens_per_second: Seconds = 400
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
    feed_with_push: Seconds = 600
    listing_gap: Seconds = 5
    listing: Seconds = 900
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


class Backend(Section, frozen=True):
    """The Redis that several daemons share. Without ``url`` a daemon is alone, and has its own file.

    ``lease`` is how long the work of a node that died waits for another; what Redis does not answer
    within ``answer_within`` counts as its being away.
    """

    url: str | None = None
    password_file: str | None = None
    prefix: str = "docsession:"
    certificate_authorities: str | None = None
    lease: Annotated[float, msgspec.Meta(ge=3, le=600)] = 10
    answer_within: Annotated[float, msgspec.Meta(ge=0.1, le=60)] = 2


class Config(Section, frozen=True):
    """Everything. ``secret`` and ``keys`` come from files or the environment only."""

    server: Server = Server()
    google: Google = Google()
    sessions: Sessions = Sessions()
    limits: Limits = Limits()
    polling: Polling = Polling()
    push: Push = Push()
    backend: Backend = Backend()


class Secrets(msgspec.Struct, frozen=True):
    """What must not stand in the configuration file."""

    client_secret: str
    keys: tuple[str, ...] | None
    redis_password: str | None = None

    def __repr__(self) -> str:
        return "<Secrets>"
