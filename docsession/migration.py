"""Moves a store into another one: slice by slice, again from where it stopped, and compared at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.interfaces import IReactorTime

from docsession.backend.rows import KINDS, Kind, Rows, Tally

__all__ = ["Comparison", "Migration", "Stopped"]

# What expires this soon is not compared: it could be gone on one side when its turn comes there.
_MARGIN = 60.0
_SAY_EVERY = 10_000  # rows


class Stopped(Exception):
    """It was told to stop; the same migration goes on from there."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The rows of one kind on both sides."""

    kind: str
    source: Tally
    target: Tally

    @property
    def equal(self) -> bool:
        return self.source == self.target


class Migration:
    """From a source, which stays as it is, into a target, which belongs to nobody before it is complete."""

    def __init__(
        self,
        source: Rows,
        target: Rows,
        clock: IReactorTime,
        say: Callable[[str], None],
        *,
        go_on: Callable[[], bool] = lambda: True,
    ) -> None:
        self._source = source
        self._target = target
        self._clock = clock
        self._say = say
        self._go_on = go_on

    async def run(self) -> list[Comparison]:
        """Move all, compare, and complete the target if both are equal.

        Raises ConfigError, Unavailable and :class:`Stopped`; afterwards the same migration goes on.
        """
        try:
            state = await self._source.open_source()
            noted = dict(await self._target.open_target(state))
            await self._check_unused()
            if noted:
                self._say(f"going on where a migration from {self._source.name} stopped")
            for kind in KINDS:
                await self._move(kind, noted)
            found = await self._compared()
            await self._check_unused()
            if all(each.equal for each in found):
                await self._target.finish()
            else:
                # What was changed under our hands cannot be told from a bug: next time from the start.
                await self._target.note({"source": ""})
            return found
        finally:
            await self._source.close()
            await self._target.close()

    async def _check_unused(self) -> None:
        await self._source.check_unused()
        await self._target.check_unused()

    async def _move(self, kind: Kind, noted: dict[str, str]) -> None:
        done = noted.get("done", "").split()
        if kind.name in done:
            return
        after = noted.get("after", "") if noted.get("kind") == kind.name else ""
        moved = said = 0
        while True:
            if not self._go_on():
                raise Stopped
            rows, after = await self._source.read(kind, after)
            now = self._clock.seconds()
            live = [row for row in rows if row.expires > now]
            if live:
                await self._target.write(kind, live)
            moved += len(live)
            if not after:
                break
            await self._target.note({"kind": kind.name, "after": after})
            if moved - said >= _SAY_EVERY:
                said = moved
                self._say(f"{kind.name}: {moved:,} so far")
        noted["done"] = " ".join((*done, kind.name))
        await self._target.note({"done": noted["done"]})
        self._say(f"{kind.name}: {moved:,} moved")

    async def _compared(self) -> list[Comparison]:
        self._say("comparing")
        margin = _MARGIN
        while True:
            until = self._clock.seconds() + margin
            found = [
                Comparison(
                    kind.name,
                    await _tally(self._source, kind, until),
                    await _tally(self._target, kind, until),
                )
                for kind in KINDS
            ]
            if self._clock.seconds() < until:
                return found
            margin *= 4  # it took longer than that: something may have expired on one side only


async def _tally(rows: Rows, kind: Kind, until: float) -> Tally:
    tally, after = Tally(), ""
    while True:
        found, after = await rows.read(kind, after)
        for row in found:
            if row.expires > until:
                tally.add(row.values)
        if not after:
            return tally
