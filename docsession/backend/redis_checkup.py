"""What ``--check`` says of a Redis: what it is, and which of its settings would lose sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docsession.backend.redis_welcome import info

if TYPE_CHECKING:
    from docsession.backend.redis import Redis

__all__ = ["look"]


async def look(redis: Redis) -> tuple[str, list[str]]:
    """One line of what was found, and warnings."""
    warnings = []
    found = info(await redis.do("INFO", "everything"))
    appends = found.get("aof_enabled") == "1"
    snapshots = await _snapshots(redis)
    if not appends and snapshots == "":
        warnings.append(
            "it keeps nothing on disk (neither appendonly nor save is set): a restart of Redis signs"
            " everybody out"
        )
    elif not appends and snapshots is None:
        warnings.append("appendonly is off, and this user may not see whether it makes snapshots (save)")
    policy = found.get("maxmemory_policy", "unknown")
    if policy != "noeviction":
        warnings.append(
            f"maxmemory-policy is {policy}: when memory is short Redis drops sessions; set noeviction"
        )
    kept = " and ".join(
        what for what, there in (("appendonly", appends), ("snapshots", bool(snapshots))) if there
    )
    role = found.get("role", "?")
    line = (
        f"{redis.url}, version {found.get('redis_version', '?')}, {role} with"
        f" {found.get('connected_slaves', '0')} replicas; on disk: {kept or 'nothing'}; when memory is short:"
        f" {policy}"
    )
    return line, warnings


async def _snapshots(redis: Redis) -> str | None:
    """The rules by which it makes them, '' for none; None where that is not for us to see."""
    from docsession.backend.redis import RedisError

    try:
        found = await redis.do("CONFIG", "GET", "save")
    except RedisError:
        return None
    return found[1].decode("utf-8", "replace") if len(found) == 2 else None
