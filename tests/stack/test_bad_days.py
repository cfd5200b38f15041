"""Bad days of our own: the clock jumps, a refresh is slow, a grant is revoked, the store is locked."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from twisted.web.http_headers import Headers

from docsession.sandbox.records import DOCUMENT, File, Permission
from tests.histories import listing_key
from tests.stack.bad_days import ANN, BOB, CAT, NOTES, Day, day

LISTING = {"q": "trashed = false", "orderBy": "modifiedTime desc", "pageSize": 5, "fields": "files(id,name)"}


def error(answer: Any) -> dict[str, Any]:
    """The data of the error of an answer that must be one."""
    assert answer is not None, "no answer"
    assert "error" in answer, answer
    return answer["error"]["data"]  # type: ignore[no-any-return]


def watch_listing(that: Day, *tabs: Any) -> None:
    for tab in tabs:
        tab.wants_listings = {listing_key(LISTING): LISTING}
        tab.ask()


# -- the clock


@pytest.mark.parametrize("jumps", [1, 24], ids=["an hour", "a day, hour by hour"])
def test_the_clock_jumps_an_hour_forward(jumps: int) -> None:
    with day() as that:
        watch_listing(that, that.ann, that.bob)
        for _ in range(jumps):
            that.play.jump(3600)
        that.rename("After the jump")
        that.advance(90)
        assert [that.names(tab) for tab in that.tabs] == [["After the jump"]] * 4
        assert that.lost() == []
        assert all(tab.open for tab in that.tabs)
        for tab in that.tabs:
            assert "result" in that.read_is_answered(tab, 1)
        # Google is not asked for all the looks that did not take place: 90 s are 18 of them.
        assert that.asked("drive.files.get") <= 40 * jumps + 40
        assert that.asked("oauth2.token.refresh") <= 3 * (jumps + 1)


def test_the_clock_jumps_with_requests_and_pauses_under_way() -> None:
    """What waited for an answer gives up, what waited for a time goes on; a write is not sent again."""
    with day() as that:
        that.faults(
            {"user": ANN, "method": "drive.files.update", "times": 1, "hang": True, "after": True},
            {"user": BOB, "method": "drive.files.get", "times": 1, "reason": "userRateLimitExceeded"},
            {"user": CAT, "method": "drive.files.get", "times": 1, "hang": True},
        )
        write = that.write(that.ann, "In the middle")
        reads = [(tab, that.read(tab)) for tab in (that.bob, that.cat)]
        that.play.jump(3600)
        that.advance(60)
        assert error(that.ann.answer(write))["name"] == "outcome_unknown"
        assert that.asked("drive.files.update") == 1
        for tab, call in reads:
            assert tab.answer(call) is not None
        assert [that.names(tab) for tab in that.tabs] == [["In the middle"]] * 4
        assert that.lost() == []


@pytest.mark.parametrize("seconds", [3600.0, -3600.0], ids=["forward", "back"])
def test_somebody_sets_the_machines_clock(seconds: float) -> None:
    """Nothing stands still for an hour, and nothing is all due at once."""
    with day() as that:
        watch_listing(that, that.ann, that.bob)
        that.stack.clock_set_by = seconds
        that.reset()
        that.rename("In time")
        that.advance(70)
        assert [that.names(tab) for tab in that.tabs] == [["In time"]] * 4
        assert 8 <= that.asked("drive.files.get") <= 24
        assert that.asked("drive.changes.list") in (1, 2)
        that.advance(2 * 3600, step=5)
        that.rename("Two hours later")
        that.advance(20)
        assert [that.names(tab)[-1] for tab in that.tabs] == ["Two hours later"] * 4
        assert that.lost() == []
        assert all(tab.open for tab in that.tabs)
        assert 6 <= that.asked("oauth2.token.refresh") <= 9


@pytest.mark.parametrize("seconds", [3600.0, -3600.0], ids=["forward", "back"])
def test_the_server_restarts_with_another_time(seconds: float) -> None:
    with day() as that:
        that.stack.clock_set_by = seconds
        that.play.restart(clean=False)
        that.rename("While it was away")
        for tab in that.tabs:
            tab.connect()
        that.advance(60)
        for tab in that.tabs:
            assert tab.open
            assert tab.page.documents[that.talk].file["name"] == "While it was away"
        that.rename("Afterwards")
        that.advance(30)
        assert [that.names(tab)[-1] for tab in that.tabs] == ["Afterwards"] * 4


# -- grants


def test_a_slow_refresh_while_ten_tabs_ask_is_one_refresh() -> None:
    with day() as that:
        tabs = [that.ann, that.ann2, *(that.play.tab(ANN) for _ in range(8))]
        world, ann = that.play.world, that.play.person(ANN)
        # Another one for each, since the same would be one request, too.
        files = [file.id for file in world.files.values() if world.role(ann, file)][:10]
        that.stack.control("POST", "/sandbox/grants", {"email": ANN, "do": "expire_access"})
        that.faults({"method": "oauth2.token.refresh", "delay": 8})
        that.reset()
        calls = [(tab, file_id, that.read(tab, file_id)) for tab, file_id in zip(tabs, files, strict=True)]
        that.advance(5)
        assert [tab.answer(call) for tab, _, call in calls] == [None] * 10
        # Bob has a token of his own, and waits for nobody.
        assert "result" in that.read_is_answered(that.bob, 0.5)
        that.rename("Meanwhile")
        that.advance(20)
        for tab, file_id, call in calls:
            answer = tab.answer(call)
            assert answer is not None
            assert answer["result"]["data"]["id"] == file_id
        assert that.asked("oauth2.token.refresh") == 1
        assert that.names(that.bob) == that.names(that.ann) == ["Meanwhile"]


def test_a_grant_revoked_in_the_middle_of_a_sweep() -> None:
    with day() as that:
        watch_listing(that, that.ann, that.bob)
        that.faults({"user": ANN, "method": "drive.changes.list", "delay": 5})
        that.reset()
        while not that.asked("drive.changes.list"):
            that.advance(1)
        that.stack.control("POST", "/sandbox/grants", {"email": ANN, "do": "revoke"})
        that.rename("Nobody's but the others'", by=BOB)
        that.advance(30)
        for tab in (that.ann, that.ann2):
            assert tab.events("session.signed_out") == [{"reason": "revoked"}]
            assert tab.history.entries[-1].what == "close"
            assert tab.history.entries[-1].message["code"] == 4500
            tab.gone = True
        for tab in (that.bob, that.cat):
            assert that.names(tab) == ["Nobody's but the others'"]
            assert tab.open
        that.faults()
        that.reset()
        that.advance(120)
        assert that.asked(by=ANN) == that.asked("oauth2.token.refresh") == 0
        assert that.lost() == []


# -- many changes


def test_ten_thousand_changes_in_one_sweep() -> None:
    """Eleven pages; the listing is read once more, and of the files only the watched one is looked at."""
    with day() as that:
        world, ann = that.play.world, that.play.person(ANN)
        files = [_file(that, number) for number in range(10_000)]
        watch_listing(that, that.ann)
        for tab in that.tabs[:2]:
            tab.wants[that.play.documents[NOTES]] = False
            tab.ask()
        told = world.on_change[:]
        world.on_change.clear()  # each change would look at everything that is watched
        for file in files:
            file.name += ", changed"
            world.touch(file, ann, modified=world.now())
        world.on_change += told
        that.rename("One among many", document=NOTES)
        that.reset()
        that.advance(65)
        assert 10 <= that.asked("drive.changes.list") <= 14
        assert that.asked("drive.files.list") <= 2
        assert that.asked("drive.files.get") <= 45, "what is not watched is not looked at"
        assert that.names(that.ann)[-1] == that.names(that.ann2)[-1] == "One among many"
        (listed,) = that.ann.events("listing.changed")
        assert listed["data"]["files"][0]["name"] == "One among many"
        assert that.names(that.bob) == []


def _file(that: Day, number: int) -> File:
    """One of Ann's, put into the world without a call for each."""
    world, ann = that.play.world, that.play.person(ANN)
    now = world.now()
    file = File(f"bulk-{number:05}", f"Page {number}", DOCUMENT, now, now, ANN, parent=world.roots[ANN])
    file.permissions[ann.permission_id] = Permission(ann.permission_id, "user", "owner", ANN)
    world.files[file.id] = file
    world.children.setdefault(file.parent, set()).add(file.id)
    return file


# -- the store


@contextmanager
def locked(that: Day) -> Iterator[None]:
    """Another program holds the store's file."""
    that.stack.store._database._patience = 0  # what it waits for is real time, which nobody has here
    other = sqlite3.connect(that.stack.directory / "docsession.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        other.rollback()
        other.close()


def test_the_store_is_locked_for_ten_seconds() -> None:
    """Reads and events go on; a write is refused before Google hears of it, and may come again."""
    with day() as that:
        with locked(that):
            that.rename("While the store is locked")
            that.advance(5)
            for tab in that.tabs:
                assert "result" in that.read_is_answered(tab, 0.5)
            said = error(that.ann.answer(that.write(that.ann, "No")))
            assert said["name"] == "unavailable"
            assert said["retry_after"] > 0
            assert that.asked("drive.files.update") == 0
            that.advance(5)
            assert [that.names(tab) for tab in that.tabs] == [["While the store is locked"]] * 4
        that.advance(said["retry_after"])
        answer = that.ann.answer(that.write(that.ann, "Now"))
        assert answer is not None
        assert "result" in answer
        assert that.lost() == []
        assert all(tab.open for tab in that.tabs)


def test_what_happened_while_the_store_was_locked_survives_a_kill_after_it() -> None:
    with day() as that:
        with locked(that):
            that.rename("Seen, and not stored")
            that.advance(20)
        that.play.restart(clean=False)
        for tab in that.tabs:
            tab.connect()
        that.advance(60)
        assert [that.names(tab) for tab in that.tabs] == [["Seen, and not stored"]] * 4
        for tab in that.tabs:
            assert tab.page.documents[that.talk].file["name"] == "Seen, and not stored"


def test_that_the_store_is_away_is_told_and_that_it_is_back() -> None:
    with day() as that:
        with locked(that):
            error(that.ann.answer(that.write(that.ann, "No")))
            that.advance(70)
            for tab in that.tabs:
                assert that.degraded(tab) == ["store_unavailable"]
        that.advance(70)
        for tab in that.tabs:
            assert that.degraded(tab) == ["store_unavailable", "recovered"]


# -- the server itself


@pytest.mark.parametrize("clean", [True, False], ids=["stopped", "killed"])
def test_a_restart_in_the_middle_of_everything(clean: bool) -> None:
    with day() as that:
        watch_listing(that, that.ann, that.bob)
        for tab in that.tabs:
            tab.wants[that.talk] = True
            tab.ask()
        that.faults({"method": "drive.comments.create", "delay": 3})
        call = that.ann.call("drive.comments.create", fileId=that.talk, requestBody={"content": "Once"})
        that.rename("Before the end")
        that.advance(1)
        that.play.restart(clean=clean)
        that.faults()
        that.rename("While it was away")
        that.advance(3)
        for tab in that.tabs:
            tab.connect()
        that.advance(120)
        answer = that.ann.answer(call)
        assert answer is not None
        assert "result" in answer or answer["error"]["data"]["name"] == "outcome_unknown"
        contents = [each.content for each in that.play.world.files[that.talk].comments.values()]
        assert contents in ([], ["Once"])
        for tab in that.tabs:
            assert tab.page.documents[that.talk].file["name"] == "While it was away"
            shown = [
                comment["content"] for comment in (tab.page.documents[that.talk].comments or {}).values()
            ]
            assert shown == contents


# -- strangers


# Of the in-memory connection, which is not ours.
@pytest.mark.filterwarnings("ignore:Using readBody with a transport:DeprecationWarning")
def test_the_push_address_is_flooded_with_wrong_tokens() -> None:
    """Nothing is looked at, stored or lost for it, and Google's own messages come through."""
    with day('[push]\nurl = "http://127.0.0.1:8765"\n') as that:
        channels = that.stack.sandbox.channels.open.values()
        assert len(channels) == 3
        that.reset()
        before = (that.stack.directory / "docsession.sqlite-wal").read_bytes()
        answers = [
            _post(that, channel.id, token, str(number))
            for number in range(200)
            for channel in channels
            for token in ("", "guess", channel.token[:-1], channel.token + "A")
        ]
        answers += [_post(that, f"unknown-{number}", "guess", "1") for number in range(200)]
        assert set(answers) == {404}
        that.advance(2)
        assert that.asked() == 0
        assert (that.stack.directory / "docsession.sqlite-wal").read_bytes() == before
        that.rename("In the flood")
        that.advance(10)
        assert [that.names(tab) for tab in that.tabs] == [["In the flood"]] * 4
        assert "result" in that.read_is_answered(that.bob, 0.5)


def _post(that: Day, channel_id: str, token: str, number: str) -> int:
    """Somebody posts about a channel; returns the status of the answer."""
    headers = {
        "X-Goog-Channel-ID": channel_id,
        "X-Goog-Channel-Token": token,
        "X-Goog-Message-Number": number,
        "X-Goog-Resource-ID": "it",
        "X-Goog-Resource-State": "change",
    }
    sent = Headers({name: [value] for name, value in headers.items() if value})
    answered: list[Any] = []
    request = that.stack.posts.request(b"POST", b"http://127.0.0.1:8765/api/drive/notifications", sent)
    request.addBoth(answered.append)
    that.stack.posts.flush()
    return int(answered[0].code)
