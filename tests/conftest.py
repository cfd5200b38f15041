"""What every test is held to: no skip in CI, nothing left behind, no error logged unseen.

trial fails a test that leaves a failed Deferred or a logged failure; pytest on its own does
not, so the fixture here does, for plain pytest tests as well.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.logger import LogLevel, globalLogPublisher


@pytest.fixture(autouse=True, scope="module")
def what_stays_is_not_looked_through_again() -> None:
    """The collection after each test has this module's own objects to go through.

    What is imported, and what other modules have cached, is several times as much.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def nothing_logged(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail on an error that was logged (or a Deferred's failure nobody handled) in the test."""
    if hasattr(request.instance, "flushLoggedErrors"):
        yield  # trial's own TestCase looks after it
        return
    seen: list[dict[str, Any]] = []

    def observe(event: dict[str, Any]) -> None:
        if event.get("log_level") is LogLevel.critical or event.get("isError"):
            seen.append(event)

    globalLogPublisher.addObserver(observe)
    try:
        yield
        gc.collect()
    finally:
        globalLogPublisher.removeObserver(observe)
    if seen:
        failures = [str(event.get("log_failure") or event.get("log_format")) for event in seen]
        pytest.fail("logged errors: " + "; ".join(failures))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Where everything is installed (CI=true) nothing may be skipped."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longrepr}"
    return report
