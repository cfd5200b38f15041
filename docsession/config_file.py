"""The configuration from its file: TOML in, checked sections out.

Unknown keys and wrong values stop the start with one line (:class:`ConfigError`). Nothing
here opens a file but the configuration itself and the secret files it names.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import tomllib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from docsession.config import UNIX, Config, GoogleEndpoints, Secrets, Section
from docsession.errors import ConfigError
from docsession.origins import exact_origin, is_loopback, site_of, split
from docsession.redis_url import parse_redis_url

__all__ = ["check", "check_startable", "load", "parse", "sandboxed"]

DRIVE_SCOPE = "https://www.googleapis.com/auth/drive"
SANDBOX_CLIENT_ID = "docsession-sandbox"

# Others mean something where Redis looks for names.
_PREFIX = re.compile(r"[A-Za-z0-9._:-]{1,100}")


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
    authorities = config.backend.certificate_authorities
    if authorities is not None:
        backend = msgspec.structs.replace(config.backend, certificate_authorities=str(base / authorities))
        config = msgspec.structs.replace(config, backend=backend)
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
        redis_password=_redis_password(config, base, environ),
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
            if proxy != UNIX:
                ipaddress.ip_network(proxy)
        except ValueError:
            raise ConfigError(
                f"server.trusted_proxies[{number}]: {proxy!r} is no address or network, nor {UNIX!r}"
            ) from None
    for name in GoogleEndpoints.__struct_fields__:
        where = f"google.endpoints.{name}"
        url = split(where, getattr(config.google.endpoints, name))
        if url.scheme != "https" and not is_loopback(url.hostname or ""):
            raise ConfigError(f"{where}: must be https")
    if config.push.url is not None:
        exact_origin("push.url", config.push.url)
    backend = config.backend
    if backend.url is not None:
        address = parse_redis_url(backend.url)
        if backend.certificate_authorities is not None and address.scheme != "rediss":
            raise ConfigError("backend.certificate_authorities: is for rediss:// only")
        if address.password is not None and backend.password_file is not None:
            raise ConfigError("backend.password_file: there is one in backend.url too; use one of them")
    elif backend.password_file is not None or backend.certificate_authorities is not None:
        raise ConfigError("backend.url: missing, while there are other settings for it")
    if not _PREFIX.fullmatch(backend.prefix):
        raise ConfigError("backend.prefix: up to 100 letters, digits and any of . _ - : and no others")
    if backend.answer_within * 2 > backend.lease:
        raise ConfigError("backend.answer_within: more than half of backend.lease")
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
    if config.backend.url is not None and not secrets.keys:
        raise ConfigError(
            "server.keys_file: missing; with backend.url all nodes need the same keys: name a file, or set"
            " DOCSESSION_KEYS"
        )
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


def _redis_password(config: Config, base: Path, environ: Mapping[str, str]) -> str | None:
    backend = config.backend
    if backend.url is None:
        return None
    variable = "DOCSESSION_REDIS_PASSWORD"
    given = _secret("backend.password_file", backend.password_file, variable, base, environ)
    if given and parse_redis_url(backend.url).password is not None:
        raise ConfigError(f"backend.url: has a password, and so has the environment in {variable}; use one")
    return given or parse_redis_url(backend.url).password


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
