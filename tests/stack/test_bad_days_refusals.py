"""Google says no, with each of its reasons: who slows down, how long, who is told, what the caller gets."""

from __future__ import annotations

from typing import Any

import pytest

from tests.stack.bad_days import ANN, BOB, CAT, NOTES, day

# What is final: Google's words go to the caller, and nothing is tried again.
FINAL = [
    (400, "badRequest", "google_rejected"),
    (400, "required", "google_rejected"),
    (400, "invalid", "google_rejected"),
    (400, "invalidParameter", "google_rejected"),
    (400, "invalidSharingRequest", "google_rejected"),
    (403, "forbidden", "forbidden"),
    (403, "insufficientFilePermissions", "forbidden"),
    (403, "appNotAuthorizedToFile", "forbidden"),
    (403, "domainPolicy", "forbidden"),
    (403, "storageQuotaExceeded", "forbidden"),
    (403, "numChildrenInNonRootLimitExceeded", "forbidden"),
    (403, "teamDriveFileLimitExceeded", "forbidden"),
    (403, "activeItemCreationLimitExceeded", "forbidden"),
    (403, "myDriveHierarchyDepthLimitExceeded", "forbidden"),
    (403, "teamDriveHierarchyTooDeep", "forbidden"),
    (403, "fileNotDownloadable", "forbidden"),
    (403, "fileNotExportable", "forbidden"),
    (403, "exportSizeLimitExceeded", "forbidden"),
    (403, "downloadQuotaExceeded", "forbidden"),
    (403, "cannotDownloadAbusiveFile", "forbidden"),
    (403, "teamDriveMembershipRequired", "forbidden"),
    (403, "cannotModifyInheritedTeamDrivePermission", "forbidden"),
    (403, "teamDrivesParentLimit", "forbidden"),
    (403, "fieldNotWritable", "forbidden"),
    (403, "insufficientPermissions", "scope_missing"),
    (404, "notFound", "not_found"),
    (409, "fileIdInUse", "google_rejected"),
    (412, "conditionNotMet", "google_rejected"),
]

# Limits on a rate: of one user, or of the whole project.
USERS_LIMIT = {"status": 403, "reason": "userRateLimitExceeded"}
PROJECTS_LIMIT = {"status": 403, "reason": "rateLimitExceeded"}
TOO_MANY = {"status": 429, "reason": "rateLimitExceeded"}


def error(answer: Any) -> dict[str, Any]:
    """The data of the error of an answer that must be one."""
    assert answer is not None, "no answer"
    assert "error" in answer, answer
    return answer["error"]["data"]  # type: ignore[no-any-return]


def is_well(answer: Any) -> bool:
    assert answer is not None, "no answer"
    return "result" in answer


@pytest.mark.parametrize(("status", "reason", "name"), FINAL)
def test_a_final_refusal_goes_to_the_caller_at_once(status: int, reason: str, name: str) -> None:
    with day() as that:
        that.faults(
            {"user": BOB, "method": "drive.files.update", "times": 1, "status": status, "reason": reason}
        )
        call = that.write(that.bob, "refused")
        said = error(that.bob.answer(call))
        assert said["name"] == name
        if name in ("forbidden", "google_rejected"):
            assert said["reason"] == reason
        if name == "google_rejected":
            assert said["status"] == status
        if name == "scope_missing":
            assert any(scope.endswith("/auth/drive") for scope in said["scopes"])
        that.advance(30)
        assert that.asked("drive.files.update") == 1, "it was tried again"
        # Nobody else is disturbed, and no more is it who was refused.
        assert is_well(that.ann.answer(that.write(that.ann, "Talk, again")))
        assert that.names(that.bob) == that.names(that.cat) == ["Talk, again"]
        assert that.lost() == []
        if reason != "domainPolicy":
            assert is_well(that.bob.answer(that.write(that.bob, "And again")))
        else:
            _reloads(that.bob)


def _reloads(tab: Any) -> None:
    tab.lose()
    tab.connect()


def test_a_token_that_google_does_not_know_is_refreshed_once_and_nobody_notices() -> None:
    with day() as that:
        that.faults(
            {"user": ANN, "method": "drive.files.get", "times": 1, "status": 401, "reason": "authError"}
        )
        assert is_well(that.read_is_answered(that.ann, 1))
        assert that.asked("oauth2.token.refresh") == 1


def test_a_token_that_google_never_likes_is_a_dead_grant_and_not_refreshed_for_ever() -> None:
    with day() as that:
        that.faults({"user": ANN, "method": "drive.files.get", "status": 401, "reason": "authError"})
        that.read(that.ann)
        that.rename("Without Ann's eyes")
        that.advance(60)
        assert that.asked("oauth2.token.refresh") == 1
        for tab in (that.ann, that.ann2):
            assert tab.events("session.signed_out") == [{"reason": "revoked"}]
            assert tab.history.entries[-1].message == {"code": 4500}
            tab.gone = True
        assert that.names(that.bob) == that.names(that.cat) == ["Without Ann's eyes"]


@pytest.mark.parametrize("limit", [USERS_LIMIT, TOO_MANY], ids=["403", "429"])
def test_a_users_limit_slows_that_user_for_as_long_as_google_says(limit: dict[str, Any]) -> None:
    with day() as that:
        that.faults({"user": ANN, "method": "drive.files.get", "times": 1, "retry_after": 30, **limit})
        said = error(that.ann.answer(that.read(that.ann)))
        assert said["name"] == "rate_limited"
        assert 25 <= said["retry_after"] <= 31
        that.reset()
        that.rename("Meanwhile")
        that.advance(25)
        assert that.asked(by=ANN) == 0
        if limit is USERS_LIMIT:
            assert that.names(that.ann) == that.names(that.bob) == ["Meanwhile"], "others' looks serve all"
        that.advance(10)
        assert is_well(that.read_is_answered(that.ann, 10))


def test_a_users_limit_does_not_slow_the_others() -> None:
    with day() as that:
        that.faults({"user": ANN, "method": "drive.files.get", "times": 1, "retry_after": 30, **USERS_LIMIT})
        that.read(that.ann)
        that.reset()
        that.advance(25)
        assert that.asked(by=BOB) + that.asked(by=CAT) >= 3
        assert is_well(that.read_is_answered(that.bob, 1))
        assert that.degraded(that.bob) == that.degraded(that.cat) == []


def test_the_projects_limit_slows_everybody() -> None:
    with day() as that:
        that.faults(
            {"user": ANN, "method": "drive.files.get", "times": 1, "retry_after": 30, **PROJECTS_LIMIT}
        )
        assert error(that.ann.answer(that.read(that.ann)))["name"] == "rate_limited"
        that.reset()
        that.advance(10)
        said = error(that.bob.answer(that.read(that.bob)))
        assert said["name"] == "rate_limited"
        assert 15 <= said["retry_after"] <= 21
        that.rename("While all waited")
        that.advance(15)
        assert that.asked() == 0
        that.advance(30)
        assert that.names(that.ann) == that.names(that.cat) == ["While all waited"]


@pytest.mark.parametrize("limit", [USERS_LIMIT, PROJECTS_LIMIT, TOO_MANY], ids=["user", "project", "429"])
def test_a_limit_without_a_time_is_waited_out_with_a_backoff(limit: dict[str, Any]) -> None:
    with day() as that:
        that.faults({"user": ANN, "method": "drive.files.get", "times": 2, **limit})
        call = that.read(that.ann)
        that.advance(15)
        answer = that.ann.answer(call)
        assert is_well(answer) or error(answer)["retry_after"] > 0
        assert that.lost() == []


def test_a_users_limit_that_lasts_is_not_run_against() -> None:
    with day() as that:
        that.ann.wants[that.play.documents[NOTES]] = False
        that.ann.ask()
        that.advance(10)
        that.faults({"user": ANN, "method": "drive.*", **USERS_LIMIT})
        that.advance(30)
        that.reset()
        that.rename("Seen by the others")
        that.advance(180)
        assert that.asked(by=ANN) <= 16, "a third of what looking every five seconds costs"
        assert that.names(that.bob) == that.names(that.ann) == ["Seen by the others"]
        assert that.lost() == []
        # The state of things is told to whom it concerns, once, and its end too.
        assert that.degraded(that.ann) == that.degraded(that.ann2) == ["google_rate_limited"]
        assert that.degraded(that.bob) == []
        that.faults()
        that.rename("Only for Ann", document=NOTES)
        that.advance(120)
        assert that.names(that.ann)[-1] == "Only for Ann"
        assert that.degraded(that.ann) == that.degraded(that.ann2) == ["google_rate_limited", "recovered"]


@pytest.mark.parametrize("limit", [PROJECTS_LIMIT, TOO_MANY], ids=["403", "429"])
def test_the_projects_limit_that_lasts_is_not_run_against(limit: dict[str, Any]) -> None:
    with day() as that:
        that.faults({"method": "drive.*", **limit})
        that.advance(30)
        that.reset()
        that.rename("Seen late")
        that.advance(180)
        assert that.asked() <= 16, "nobody asks while all are refused, but for a try now and then"
        assert that.lost() == []
        for tab in that.tabs:
            assert that.degraded(tab) == ["google_rate_limited"]
        that.faults()
        that.advance(120)
        for tab in that.tabs:
            assert that.names(tab) == ["Seen late"]
            assert that.degraded(tab) == ["google_rate_limited", "recovered"]


def test_the_days_limit_stops_everybody_until_midnight_in_california() -> None:
    with day() as that:
        now = that.stack.clock.seconds()
        midnight = 86400 - (now - 8 * 3600) % 86400
        that.faults({"method": "drive.*", "status": 403, "reason": "dailyLimitExceeded"})
        said = error(that.ann.answer(that.read(that.ann)))
        assert said["name"] == "rate_limited"
        assert abs(said["retry_after"] - midnight) <= 120
        that.reset()
        that.advance(900, step=5)
        assert that.asked() == 0
        assert error(that.bob.answer(that.read(that.bob)))["name"] == "rate_limited"
        assert that.asked() == 0
        for tab in that.tabs:
            assert that.degraded(tab) == ["google_rate_limited"]
        that.faults()
        that.rename("The next day")
        that.play.jump(midnight - 900 + 120)
        that.advance(120)
        for tab in that.tabs:
            assert that.names(tab) == ["The next day"]
            assert that.degraded(tab) == ["google_rate_limited", "recovered"]


def test_the_limit_on_sharing_holds_back_sharing_only() -> None:
    def share(tab: Any) -> str:
        body = {"type": "user", "role": "reader", "emailAddress": CAT}
        call = tab.call("drive.permissions.create", fileId=that.talk, requestBody=body)
        return str(call)

    with day() as that:
        that.faults(
            {"method": "drive.permissions.*", "times": 1, "status": 403, "reason": "sharingRateLimitExceeded"}
        )
        said = error(that.ann.answer(share(that.ann)))
        assert said["name"] == "rate_limited"
        assert said["retry_after"] >= 60
        wait = said["retry_after"]
        assert error(that.ann2.answer(share(that.ann2)))["retry_after"] > 0
        assert that.asked("drive.permissions.create") == 1
        assert is_well(that.ann.answer(that.write(that.ann, "Still mine to rename")))
        assert is_well(that.bob.answer(share(that.bob)))
        that.reset()
        that.advance(20)
        assert that.asked(by=ANN) > 0, "looks go on"
        that.advance(wait)
        assert is_well(that.ann.answer(share(that.ann)))


def test_an_account_whose_administrators_said_no_is_polled_no_more() -> None:
    with day() as that:
        that.faults({"user": BOB, "method": "drive.*", "status": 403, "reason": "domainPolicy"})
        said = error(that.bob.answer(that.read(that.bob)))
        assert (said["name"], said["reason"]) == ("forbidden", "domainPolicy")
        that.advance(30)
        that.reset()
        that.rename("Without Bob's eyes")
        that.advance(540, step=2)
        assert that.asked(by=BOB) <= 1
        assert that.names(that.ann) == that.names(that.cat) == ["Without Bob's eyes"]
        assert that.lost() == [], "a policy is no loss of access"
        that.faults()
        _reloads(that.bob)


@pytest.mark.parametrize(
    ("status", "reason"),
    [(404, "notFound"), (403, "insufficientFilePermissions"), (403, "appNotAuthorizedToFile")],
)
def test_a_look_that_may_not_see_it_twice_is_a_loss(status: int, reason: str) -> None:
    with day() as that:
        permission = that.play.person(BOB).permission_id
        that.play.at_google(ANN, "DELETE", f"/drive/v3/files/{that.talk}/permissions/{permission}")
        that.faults({"user": BOB, "file": that.talk, "status": status, "reason": reason})
        that.advance(30)
        assert that.bob.events("document.lost") == [{"fileId": that.talk, "reason": "no_access"}]
        assert that.lost() == [that.bob.history.connection]


@pytest.mark.parametrize(
    ("status", "reason"),
    [(404, "notFound"), (403, "insufficientFilePermissions"), (403, "appNotAuthorizedToFile")],
)
def test_one_look_that_may_not_see_it_is_no_loss(status: int, reason: str) -> None:
    with day() as that:
        that.faults({"method": "drive.files.get", "times": 1, "status": status, "reason": reason})
        that.advance(10)
        that.rename("There all the time")
        that.advance(20)
        assert that.lost() == []
        assert [that.names(tab) for tab in that.tabs] == [["There all the time"]] * 4


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (403, "insufficientPermissions"),
        (403, "userRateLimitExceeded"),
        (403, "forbidden"),
        (403, "storageQuotaExceeded"),
        (400, "invalid"),
        (500, "internalError"),
    ],
)
def test_any_other_refusal_of_a_look_is_no_loss(status: int, reason: str) -> None:
    with day() as that:
        that.faults({"user": BOB, "method": "drive.files.get", "status": status, "reason": reason})
        that.advance(60)
        that.rename("Seen by the others")
        that.advance(20)
        assert that.lost() == []
        assert that.names(that.ann) == that.names(that.cat) == ["Seen by the others"]
        assert that.asked(by=BOB) <= 30, "no storm"


def test_google_says_in_words_what_it_likes_only_reasons_count() -> None:
    with day() as that:
        text = "User Rate Limit Exceeded. Rate of requests for user exceed configured project quota"
        body = {
            "error": {
                "code": 403,
                "message": text,
                "errors": [{"domain": "global", "reason": "insufficientFilePermissions", "message": text}],
            }
        }
        that.faults({"user": BOB, "method": "drive.files.update", "times": 1, "status": 403, "body": body})
        said = error(that.bob.answer(that.write(that.bob, "no")))
        assert (said["name"], said["reason"]) == ("forbidden", "insufficientFilePermissions")
