"""The whole way of a change: from a tab's call through Google's stand-in to the last of a thousand tabs."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.sockets.ours import Ours, document
from benchmarks.sockets.subjects import FLIGHT_DOCUMENTS, OurSubject, users_for

__all__ = ["whole"]

TABS = 1000


def whole(*, quick: bool = False) -> dict[str, Any]:
    """``drive.files.update`` on one tab, ``document.changed`` on all the others."""
    documents = FLIGHT_DOCUMENTS + 1
    with (
        tempfile.TemporaryDirectory(prefix="docsession-whole-") as directory,
        Ours(Path(directory), users=[range(documents)] * users_for(TABS), documents=documents) as ours,
        OurSubject(ours) as subject,
    ):
        subject.prepare_fanout(TABS, tried=False)
        generator, group = subject.generator, f"fan{TABS}"
        generator.group("writer", ours.address, [ours.tab(ours.users[-1])])
        generator.open("writer", 1)
        generator.trigger_by_message(
            group, "writer", [update(document(at)) for at in range(FLIGHT_DOCUMENTS)]
        )
        # The first changes what else differs from what was seeded.
        for seconds in (0.0, 3.0 if quick else 10.0):
            answer = subject.checked(
                generator.fanout(group, seconds=seconds, flight=1, needle='"name":"Written-')
            )
        ours.assert_quiet()
        return {"tabs": TABS, **{name: answer[name] for name in ("sent", "p50", "p99", "worst")}}


def update(file_id: str) -> bytes:
    """A call that renames."""
    params = {"fileId": file_id, "requestBody": {"name": "Written-#########"}}
    message = {"jsonrpc": "2.0", "id": "#########", "method": "drive.files.update", "params": params}
    text = json.dumps(message, separators=(",", ":"))
    # One number is filled in, and it is the name that must be told apart.
    return text.replace('"id":"#########"', '"id":"w"').encode()
