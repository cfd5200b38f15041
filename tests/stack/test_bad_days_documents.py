"""A watched document is unshared, trashed, deleted or moved away; and what it is to everybody else."""

from __future__ import annotations

from typing import Any

import pytest

from docsession.config import Polling
from tests.histories import listing_key
from tests.stack.bad_days import ANN, BOB, CAT, NOTES, Day, day
from tests.stack.playing import PlayedTab

# A look in turn by each of three people, the second look, and jitter.
POLLING = Polling()
SOON = 3 * POLLING.visible * 1.2 + 4


def unshare(that: Day, whom: str) -> None:
    """Ann takes somebody's access away, at Google itself."""
    permission = that.play.person(whom).permission_id
    path = f"/drive/v3/files/{that.talk}/permissions/{permission}"
    assert that.play.at_google(ANN, "DELETE", path) is not None


def share(that: Day, whom: str) -> None:
    body = {"type": "user", "role": "reader", "emailAddress": whom}
    path = f"/drive/v3/files/{that.talk}/permissions"
    assert that.play.at_google(ANN, "POST", path, body, sendNotificationEmail="false") is not None


def losses(tab: PlayedTab) -> list[Any]:
    return [params["reason"] for params in tab.events("document.lost")]


def test_unshared_at_google() -> None:
    with day() as that:
        unshare(that, BOB)
        that.advance(SOON)
        assert [losses(tab) for tab in that.tabs] == [[], [], ["no_access"], []]
        that.rename("Not for Bob")
        that.advance(SOON)
        assert [that.names(tab) for tab in that.tabs] == [
            ["Not for Bob"],
            ["Not for Bob"],
            [],
            ["Not for Bob"],
        ]
        answer = that.bob.answer(that.bob.call("documents.watch", fileId=that.talk))
        assert answer is not None
        assert answer["error"]["data"]["name"] == "not_found"


def test_unshared_through_us_takes_effect_before_the_next_event() -> None:
    with day() as that:
        permission = that.play.person(BOB).permission_id
        that.ann.call("drive.permissions.delete", fileId=that.talk, permissionId=permission)
        that.write(that.ann, "Written at once")
        assert that.names(that.bob) == []
        that.advance(SOON)
        assert losses(that.bob) == ["no_access"]
        assert that.names(that.bob) == []
        assert that.names(that.cat) == ["Written at once"]


def test_unshared_and_shared_again_between_two_looks_is_no_loss() -> None:
    with day() as that:
        unshare(that, BOB)
        share(that, BOB)
        that.rename("Still there")
        that.advance(SOON)
        assert that.lost() == []
        assert that.names(that.bob) == ["Still there"]


def test_shared_again_after_the_loss_is_watched_again() -> None:
    with day() as that:
        unshare(that, BOB)
        that.advance(SOON)
        share(that, BOB)
        that.bob.wants[that.talk] = False
        that.bob.not_before.clear()
        that.bob.ask()
        that.rename("Again")
        that.advance(SOON)
        assert that.names(that.bob) == ["Again"]


@pytest.mark.parametrize("away", [590, 660], ids=["within a proof", "after it"])
def test_lost_while_google_does_not_answer_this_user(away: int) -> None:
    """Others' looks go on. Whose own eyes are shut is told on the strength of a proof, and no longer."""
    with day() as that:
        that.faults({"user": BOB, "method": "drive.*", "status": 503})
        unshare(that, BOB)
        that.play.jump(away)
        that.rename("Not for Bob any more")
        that.advance(SOON)
        assert that.names(that.cat) == ["Not for Bob any more"]
        if away > POLLING.proof:
            assert that.names(that.bob) == []
        assert losses(that.bob) == []
        that.faults()
        that.advance(90)
        assert losses(that.bob) == ["no_access"]


def test_trashed_is_told_and_is_no_loss() -> None:
    with day() as that:
        path = f"/drive/v3/files/{that.talk}"
        that.play.at_google(ANN, "PATCH", path, {"trashed": True})
        that.advance(SOON)
        that.play.at_google(ANN, "PATCH", path, {"trashed": False})
        that.advance(SOON)
        for tab in that.tabs:
            trashed = [params["file"]["trashed"] for params in tab.events("document.changed")]
            assert trashed == [True, False]
        assert that.lost() == []


def test_deleted_at_google() -> None:
    with day() as that:
        that.play.at_google(ANN, "DELETE", f"/drive/v3/files/{that.talk}")
        that.advance(SOON)
        assert [losses(tab) for tab in that.tabs] == [["no_access"]] * 4
        that.reset()
        that.advance(60)
        assert that.asked("drive.files.get") == 0, "nobody looks for it any more"


def test_deleted_through_us() -> None:
    with day() as that:
        call = that.ann.call("drive.files.delete", fileId=that.talk)
        answer = that.ann.answer(call)
        assert answer is not None
        assert "result" in answer
        assert [losses(tab) for tab in that.tabs] == [["deleted"]] * 4
        that.reset()
        that.advance(60)
        assert that.asked("drive.files.get") == 0


def test_deleted_while_nobody_was_there() -> None:
    """Who comes back with a version of what is gone is told so, and not the stored state."""
    with day() as that:
        for tab in that.tabs:
            tab.lose()
        that.play.at_google(ANN, "DELETE", f"/drive/v3/files/{that.talk}")
        that.play.jump(660)
        for tab in that.tabs:
            tab.connect()
        that.advance(5)
        assert [tab.wants for tab in that.tabs] == [{}] * 4, "each was told that it is not found"


def test_moved_into_a_shared_drive() -> None:
    """All three are members there: nothing is lost, and the viewers' own view has changed."""
    with day() as that:
        play = that.play
        query = {
            "addParents": play.stack.file("Press room"),
            "removeParents": play.world.files[that.talk].parent,
        }
        assert play.at_google(ANN, "PATCH", f"/drive/v3/files/{that.talk}", {}, **query) is not None
        that.advance(SOON)
        assert that.lost() == []
        for tab in that.tabs:
            assert tab.events("document.touched"), tab.history.connection
        that.rename("In the press room")
        that.advance(SOON)
        assert [that.names(tab) for tab in that.tabs] == [["In the press room"]] * 4


def test_moved_into_a_shared_drive_and_out_of_the_sight_of_one() -> None:
    with day() as that:
        play = that.play
        unshare(that, CAT)
        share(that, CAT)
        drive = play.stack.file("Press room")
        play.world.files[drive].permissions.pop(play.person(CAT).permission_id)
        play.world.sharing.forget()
        query = {"addParents": drive, "removeParents": play.world.files[that.talk].parent}
        assert play.at_google(ANN, "PATCH", f"/drive/v3/files/{that.talk}", {}, **query) is not None
        unshare(that, CAT)
        that.advance(SOON)
        assert [losses(tab) for tab in that.tabs] == [[], [], [], ["no_access"]]
        that.rename("In the press room")
        that.advance(SOON)
        assert that.names(that.bob) == ["In the press room"]
        assert that.names(that.cat) == []


def test_a_listing_loses_what_was_unshared_and_nobody_elses_changes() -> None:
    with day() as that:
        params = {"q": "trashed = false", "orderBy": "name", "fields": "files(id,name)"}
        for tab in (that.ann, that.bob):
            tab.wants_listings = {listing_key(params): params}
            tab.ask()
        unshare(that, BOB)
        that.advance(POLLING.feed + 10)
        (told,) = that.bob.events("listing.changed")
        assert that.talk not in [file["id"] for file in told["data"]["files"]]
        assert that.ann.events("listing.changed") == []


def test_a_document_that_only_one_may_see_is_told_to_nobody_else() -> None:
    with day() as that:
        notes = that.play.documents[NOTES]
        for tab in that.tabs:
            tab.wants[notes] = False
            tab.ask()
        assert [notes in tab.wants for tab in that.tabs] == [True, True, False, False]
        that.rename("Ann's own", document=NOTES)
        that.advance(SOON)
        assert [that.names(tab) for tab in that.tabs] == [["Ann's own"], ["Ann's own"], [], []]
