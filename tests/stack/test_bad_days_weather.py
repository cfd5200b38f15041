"""Google is away, talks nonsense, hangs, or does what it was asked and does not say so."""

from __future__ import annotations

from typing import Any

import pytest

from tests.stack.bad_days import ANN, Day, day
from tests.stack.playing import PlayedTab

HTML = "<!DOCTYPE html><html><title>Error 502 (Server Error)!!1</title><p>That's all we know.</html>"
WEATHER: dict[str, dict[str, Any]] = {
    "500": {"status": 500, "reason": "internalError"},
    "502 in HTML": {"status": 502, "body": HTML},
    "503": {"status": 503, "reason": "backendError"},
    "503 with a time": {"status": 503, "reason": "backendError", "retry_after": 2},
    "504": {"status": 504},
    "200 in HTML": {"status": 200, "body": HTML},
    "truncated": {"status": 200, "body": '{"kind": "drive#file", "id": "1abc", "na'},
    "dropped": {"drop": True},
    "hanging": {"hang": True},
}
UNANSWERED = {
    name: WEATHER[name] for name in ("500", "502 in HTML", "503", "200 in HTML", "truncated", "hanging")
}
UNANSWERED["dropped"] = {}

weather = pytest.mark.parametrize("fault", WEATHER.values(), ids=WEATHER.keys())
unanswered = pytest.mark.parametrize("fault", UNANSWERED.values(), ids=UNANSWERED.keys())


def error(answer: Any) -> dict[str, Any]:
    """The data of the error of an answer that must be one."""
    assert answer is not None, "no answer"
    assert "error" in answer, answer
    return answer["error"]["data"]  # type: ignore[no-any-return]


def all_up(that: Day) -> bool:
    return all(tab.open for tab in that.tabs)


@weather
def test_a_read_is_tried_again(fault: dict[str, Any]) -> None:
    with day() as that:
        that.faults({"user": ANN, "method": "drive.files.get", "times": 1, **fault})
        answer = that.read_is_answered(that.ann, 45)
        assert answer.get("result", {}).get("data", {}).get("id") == that.talk, answer


@weather
def test_a_read_that_cannot_be_done_says_when_to_ask_again(fault: dict[str, Any]) -> None:
    with day() as that:
        that.faults({"user": ANN, "method": "drive.files.get", **fault})
        said = error(that.read_is_answered(that.ann, 200))
        assert said["name"] == "google_unavailable"
        assert said["retry_after"] > 0
        assert all_up(that)
        assert that.lost() == []


@weather
def test_one_users_bad_weather_disturbs_nobody(fault: dict[str, Any]) -> None:
    with day() as that:
        that.faults({"user": ANN, "method": "drive.*", **fault})
        that.advance(40)
        that.rename("Seen by Bob and Cat")
        that.advance(20)
        assert [that.names(tab) for tab in that.tabs] == [["Seen by Bob and Cat"]] * 4
        assert all_up(that)
        assert that.lost() == []
        assert that.asked(by=ANN) <= 40, "no storm"


@weather
def test_everybodys_bad_weather_loses_nothing(fault: dict[str, Any]) -> None:
    with day() as that:
        that.faults({"method": "drive.*", **fault})
        that.advance(60)
        that.rename("First")
        that.advance(60)
        that.rename("Second")
        that.advance(60)
        # Three people who ask every five seconds would be 36 looks; a try each and no more.
        assert that.asked() <= 150, "no storm"
        assert all_up(that)
        assert that.lost() == []
        for tab in that.tabs:
            assert that.degraded(tab) == ["google_unavailable"], "told once, to everybody"
        that.faults()
        that.advance(90)
        for tab in that.tabs:
            assert that.names(tab) == ["Second"], "what is true, once"
            assert that.degraded(tab) == ["google_unavailable", "recovered"]


@weather
def test_a_write_in_bad_weather_is_not_done_twice(fault: dict[str, Any]) -> None:
    """Whether Google did it, nobody can say; so it is not tried again, and looked at."""
    with day() as that:
        that.faults({"user": ANN, "method": "drive.files.update", "times": 1, **fault})
        call = that.write(that.ann, "Perhaps")
        that.advance(45)
        assert error(that.ann.answer(call))["name"] == "outcome_unknown"
        assert that.asked("drive.files.update") == 1
        assert [that.names(tab) for tab in that.tabs] == [[]] * 4
        # It was not done; who looked and does it again does it once.
        assert "result" in (that.ann.answer(that.write(that.ann, "Surely")) or {})
        assert [that.names(tab) for tab in (that.ann2, that.bob, that.cat)] == [["Surely"]] * 3


@unanswered
def test_a_write_that_is_done_and_not_answered_is_told_to_all(fault: dict[str, Any]) -> None:
    with day() as that:
        that.faults({"user": ANN, "method": "drive.files.update", "times": 1, "after": True, **fault})
        call = that.write(that.ann, "Done in silence")
        that.advance(45)
        assert error(that.ann.answer(call))["name"] == "outcome_unknown"
        assert that.asked("drive.files.update") == 1
        # Who wrote does not know it yet, so it is told too.
        assert [that.names(tab) for tab in that.tabs] == [["Done in silence"]] * 4


@unanswered
def test_a_comment_that_is_written_and_not_answered_is_there_once(fault: dict[str, Any]) -> None:
    with day() as that:
        for tab in that.tabs:
            tab.wants[that.talk] = True
            tab.ask()
        that.faults({"user": ANN, "method": "drive.comments.create", "times": 1, "after": True, **fault})
        call = that.ann.call("drive.comments.create", fileId=that.talk, requestBody={"content": "Once"})
        that.advance(45)
        assert error(that.ann.answer(call))["name"] == "outcome_unknown"
        assert that.asked("drive.comments.create") == 1
        for tab in that.tabs:
            told = [params["comment"]["content"] for params in tab.events("document.comment")]
            assert told == ["Once"]


@unanswered
def test_a_write_that_is_sent_again_after_the_socket_broke_is_not_done_again(fault: dict[str, Any]) -> None:
    with day() as that:
        that.faults({"user": ANN, "method": "drive.comments.create", "times": 1, "after": True, **fault})
        call = that.ann.call("drive.comments.create", fileId=that.talk, requestBody={"content": "Once"})
        that.ann.lose()
        that.advance(5)
        that.ann.connect()  # and sends again what was not answered, under its old id
        that.advance(45)
        if "hang" in fault:
            assert error(that.ann.answer(call))["name"] == "outcome_unknown"
        assert that.asked("drive.comments.create") == 1
        file = that.play.world.files[that.talk]
        assert [comment.content for comment in file.comments.values()] == ["Once"]


def test_a_slow_google_holds_up_nobody_else() -> None:
    """Ann's requests take ten seconds each; Bob's are answered at once."""
    with day() as that:
        that.faults({"user": ANN, "method": "drive.*", "delay": 10})
        calls = [that.read(that.ann) for _ in range(20)]
        answer = that.read_is_answered(that.bob, 0.5)
        assert "result" in answer, answer
        that.rename("In time")
        that.advance(16)
        assert that.names(that.bob) == that.names(that.cat) == ["In time"]
        that.advance(60)
        for call in calls:
            assert that.ann.answer(call) is not None


def _told(tab: PlayedTab) -> list[str]:
    return [str(entry.message["method"]) for entry in tab.history.entries if entry.what == "event"]


def test_nothing_is_said_of_weather_that_passes_at_once() -> None:
    with day() as that:
        that.faults({"method": "drive.files.get", "times": 1, **WEATHER["503"]})
        that.advance(60)
        assert [_told(tab) for tab in that.tabs] == [[]] * 4
