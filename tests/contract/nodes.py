"""Several nodes on whatever they share, as the suites of ``bus`` and ``leases`` are given them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from docsession.interfaces import Bus, Leases

__all__ = ["Heard", "Node", "NodesWorld", "Promise", "Told", "synchronous_suite"]


class Node(Protocol):
    """One of them."""

    @property
    def bus(self) -> Bus: ...
    @property
    def leases(self) -> Leases: ...


class NodesWorld(Protocol):
    """Where they come, go, and are waited for."""

    async def join(self) -> Any:
        """A further :class:`Node`."""

    async def die(self, node: Any) -> None:
        """It says nothing any more, not even goodbye."""

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait for what must come true before long; of what is awaitable, for its result."""


Promise = Callable[[Any], Coroutine[Any, Any, None]]


@dataclass
class Heard:
    """A listener that keeps what it hears."""

    messages: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, message: Any) -> None:
        self.messages.append(dict(message))


@dataclass
class Told:
    """What a lease's ``on_change`` was told, in order."""

    changes: list[bool] = field(default_factory=list)

    def __call__(self, held: bool) -> None:
        # One that is told the same twice would act twice.
        assert not self.changes or self.changes[-1] != held
        self.changes.append(held)


def synchronous_suite(
    name: str, promises: dict[str, Promise], make_world: Callable[[SynchronousTestCase], Any]
) -> type[SynchronousTestCase]:
    """A TestCase with one test for each promise, for nodes that need no reactor."""

    def make_test(check: Promise) -> Callable[[SynchronousTestCase], None]:
        def test(case: SynchronousTestCase) -> None:
            case.successResultOf(Deferred.fromCoroutine(check(make_world(case))))

        test.__doc__ = check.__doc__
        return test

    members = {f"test_{each}": make_test(check) for each, check in promises.items()}
    return type(name, (SynchronousTestCase,), members)
