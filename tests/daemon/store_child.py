"""A process that saves and saves, and says of each save that it is done; or meets a full disk.

Run by test_store_process.py as ``python -m tests.daemon.store_child DATABASE TASK ROUND``.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from docsession.backend.sqlite import AdbapiRunner, SqliteStore
from docsession.errors import Unavailable
from docsession.keys import Sealer
from tests.contract.store import DOCUMENT, ENTRY, GRANT, KEYS, SESSION, STAMP

WRITERS = 4


def say(line: str) -> None:
    print(line, flush=True)


async def save_for_ever(store: SqliteStore, turn: str) -> None:
    """Several at once, until the process is killed."""
    writers = [Deferred.fromCoroutine(save_in_turn(store, f"{turn}-{number}")) for number in range(WRITERS)]
    await gatherResults(writers, consumeErrors=True)


async def save_in_turn(store: SqliteStore, writer: str) -> None:
    """Rounds of saves; the last of each round retires one session and saves another, as a sign-in does."""
    previous = "-" * 32
    for number in range(1_000_000):
        key = replace(ENTRY.key, connection=writer, call_id=str(number))
        await store.journal_begin(replace(ENTRY, key=key))
        say(f"begun {writer} {number}")
        await store.journal_finish(key, ENTRY.socket, str(number).encode())
        say(f"finished {writer} {number}")
        replaces = number - 1 if number else None
        assert await store.save_grant(writer, replace(GRANT, generation=number), replaces=replaces)
        say(f"granted {writer} {number}")
        session_id = f"{writer}-{number}".ljust(32, "_")
        new = replace(SESSION, id=session_id, user_id=writer)
        await store.replace_session(previous, new, until=1e12)
        say(f"replaced {writer} {number}")
        previous = session_id


async def meet_a_full_disk(store: SqliteStore, turn: str) -> None:
    """No file of this process may grow beyond 200 kB; later it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    saved = 0
    while True:
        try:
            await store.save_document(replace(DOCUMENT, file_id=f"{turn}-{saved}"), replaces=None)
        except Unavailable:
            break
        say(f"saved {turn}-{saved}")
        saved += 1
    assert await store.load_document(f"{turn}-0") is not None
    say("reads go on")
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    for number in range(saved, saved + 50):
        await store.save_document(replace(DOCUMENT, file_id=f"{turn}-{number}"), replaces=None)
        say(f"saved {turn}-{number}")
    say("writes again")


TASKS: dict[str, Callable[[SqliteStore, str], Coroutine[Any, Any, None]]] = {
    "save": save_for_ever,
    "full": meet_a_full_disk,
}


async def main(reactor: Any, database: str, task: str, turn: str) -> None:
    path = Path(database)
    store = SqliteStore(path, Sealer(KEYS), run=AdbapiRunner(path, reactor), clock=reactor)
    await store.open(STAMP)
    say("open")
    await TASKS[task](store, turn)
    await store.close()


if __name__ == "__main__":
    react(lambda reactor, *args: Deferred.fromCoroutine(main(reactor, *args)), sys.argv[1:])
