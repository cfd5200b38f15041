"""Fills the daemon's store with users, their grants and sessions, and documents that they may know.

    python -m benchmarks.sockets.seed CONFIG PLAN

All of it goes through the store itself and the daemon's own keys, before the daemon starts. ``PLAN``
is JSON: ``users`` (with an access token and what each watches) and ``files`` (as Drive answers them).
The cookies go to standard output.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from docsession.config_file import load
from docsession.daemon import Environment
from docsession.google.look import view_of
from docsession.keys import CookieSigner
from docsession.model import DocumentRecord, Grant, Identity, SessionRecord, User

AT_ONCE = 200
# Who makes the changes, and watches nothing.
WRITER = "user-writer"
SCOPES = ("openid", "email", "profile", "https://www.googleapis.com/auth/drive")


async def fill(reactor: Any, config: Path, plan: dict[str, Any]) -> list[dict[str, str]]:
    """Returns a cookie and a session for each user, in their order."""
    settings, given = load(config, os.environ)
    environment = Environment(settings, given, reactor, random.Random())
    keys = environment.keys()
    backend = environment.backend(keys)
    await backend.start(environment.stamp())
    store, now = backend.backend.store, reactor.seconds()
    signer = CookieSigner(keys)

    async def user(each: dict[str, Any]) -> dict[str, str]:
        user_id, session = each["id"], secrets.token_urlsafe(24)
        await store.save_user(User(user_id, each["email"], each["name"], "", SCOPES))
        grant = Grant(1, SCOPES, each["token"], now + 3500, None)
        await store.save_grant(user_id, grant, replaces=None)
        await store.save_session(SessionRecord(session, now - 60, now, user_id))
        return {"session": session, "cookie": signer.sign(Identity(session, now - 60))}

    async def file(answer: dict[str, Any], viewers: list[str]) -> None:
        view = view_of(answer, now)
        proofs = dict.fromkeys(viewers, (now, 0.0))
        version = str(view.google_version)
        shared = dict(view.shared)
        record = DocumentRecord(view.file_id, version, view.google_version, shared, now, proofs)
        await store.save_document(record, replaces=None)

    viewers: dict[str, list[str]] = {}
    for each in plan["users"]:
        for file_id in each["watches"]:
            viewers.setdefault(file_id, []).append(each["id"])
    made: list[dict[str, str]] = []
    for some in batches(plan["users"]):
        made += await gatherResults([Deferred.fromCoroutine(user(each)) for each in some])
    for some in batches(plan["files"]):
        saving = [file(each, viewers.get(each["id"], [])) for each in some]
        await gatherResults([Deferred.fromCoroutine(each) for each in saving])
    await backend.stop()
    return made


def batches(all_of_them: list[Any]) -> Iterable[list[Any]]:
    """A few hundred at once."""
    for begin in range(0, len(all_of_them), AT_ONCE):
        yield all_of_them[begin : begin + AT_ONCE]


async def main(reactor: Any, config: str, plan: str) -> None:
    made = await fill(reactor, Path(config), json.loads(Path(plan).read_text(encoding="utf-8")))
    sys.stdout.write(json.dumps(made))


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])))
