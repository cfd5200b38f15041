"""Random schedules of changes, faults, disconnects and restarts: what every connection was told is true.

``DOCSESSION_HISTORIES=500 pytest tests/stack/test_histories.py`` plays that many, other ones each time.
"""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from tests.histories import listing_key
from tests.stack.playing import ANN, BOB, CAT, PEOPLE, Play, PlayedTab

DOCUMENTS = ("Autumn plan", "Talk for the shops", "River bend.png", "House style.txt", "Minutes")
# What may be deleted for good: some are to be there in the end.
MORTAL = ("Talk for the shops", "River bend.png")
LISTINGS = (
    {"q": "trashed = false", "orderBy": "name", "fields": "files(id,name,modifiedTime)"},
    {"q": "name contains 'words'", "orderBy": "name", "fields": "files(id,name)"},
    {
        "corpora": "allDrives",
        "includeItemsFromAllDrives": True,
        "orderBy": "name",
        "fields": "files(id,name,trashed)",
    },
)
METHODS = (
    "drive.*",
    "drive.files.get",
    "drive.comments.list",
    "drive.changes.list",
    "drive.files.list",
    "drive.files.update",
)
HTML = "<!DOCTYPE html><html><title>Error 502 (Server Error)!!1</title></html>"
FAULTS: tuple[dict[str, Any], ...] = (
    {"status": 503},
    {"status": 500},
    {"status": 502, "body": HTML},
    {"status": 200, "body": HTML},
    {"status": 200, "body": '{"id": "1abc", "name": "Autu'},
    {"status": 429, "reason": "rateLimitExceeded"},
    {"status": 429, "reason": "rateLimitExceeded", "retry_after": 20},
    {"reason": "userRateLimitExceeded"},
    {"reason": "rateLimitExceeded", "retry_after": 5},
    {"drop": True},
    {"hang": True},
    {"delay": 4},
)

people = st.sampled_from(PEOPLE)
documents = st.sampled_from(DOCUMENTS)
numbers = st.integers(0, 7)


class Histories(RuleBasedStateMachine):
    """One history; what is wrong with it is said at its end."""

    def __init__(self) -> None:
        super().__init__()
        self.play = Play(DOCUMENTS)
        for email in (ANN, BOB, CAT):
            self.play.tab(email)

    def teardown(self) -> None:
        try:
            found = self.play.end()
        finally:
            self.play.close()
        assert not found, "\n".join(map(str, found))

    # -- changes at Google itself

    @rule(who=people, what=documents)
    def rename(self, who: str, what: str) -> None:
        self._update(who, what, {"name": self.play.words()})

    @rule(who=people, what=documents)
    def edit(self, who: str, what: str) -> None:
        self.play.edit(who, what, self.play.words())

    @rule(who=people, what=documents)
    def trash_or_untrash(self, who: str, what: str) -> None:
        file = self.play.file(what)
        if file is not None:
            self._update(who, what, {"trashed": not file.trashed})

    @rule(who=people, what=documents, to=st.sampled_from(["Catalogue", "Press room", "My Drive"]))
    def move(self, who: str, what: str, to: str) -> None:
        play = self.play
        file = play.file(what)
        folder = play.world.roots[who] if to == "My Drive" else play.stack.file(to)
        if file is not None and file.parent != folder:
            query = {"addParents": folder, "removeParents": file.parent}
            play.at_google(who, "PATCH", f"/drive/v3/files/{file.id}", {}, **query)

    @rule(who=people, what=documents, noisy=st.booleans())
    def view(self, who: str, what: str, noisy: bool) -> None:
        self.play.view(who, what)

    @rule(who=people, what=documents, whom=people, role=st.sampled_from(["reader", "commenter", "writer"]))
    def share(self, who: str, what: str, whom: str, role: str) -> None:
        body = {"type": "user", "role": role, "emailAddress": whom}
        self._of(who, what, "POST", "/permissions", body, sendNotificationEmail="false")

    @rule(who=people, what=documents, whom=people)
    def unshare(self, who: str, what: str, whom: str) -> None:
        permission = self.play.person(whom).permission_id
        self._of(who, what, "DELETE", f"/permissions/{permission}")

    @rule(who=people, what=st.sampled_from(MORTAL), sure=numbers)
    def delete(self, who: str, what: str, sure: int) -> None:
        if sure == 0:
            self._of(who, what, "DELETE", "")

    @rule(who=people, what=documents)
    def comment(self, who: str, what: str) -> None:
        self._of(who, what, "POST", "/comments", {"content": self.play.words()}, fields="id")

    @rule(who=people, what=documents, which=numbers, how=st.sampled_from(["edit", "delete", "resolve", "reply"]))
    def change_comment(self, who: str, what: str, which: int, how: str) -> None:
        comment = self.play.comment_of(what, which)
        path, words = f"/comments/{comment}", {"content": self.play.words()}
        if comment is None:
            return
        if how == "edit":
            self._of(who, what, "PATCH", path, words, fields="id")
        elif how == "delete":
            self._of(who, what, "DELETE", path)
        else:
            action = {"action": "resolve"} if how == "resolve" else {}
            self._of(who, what, "POST", f"{path}/replies", words | action, fields="id")

    @rule(who=people, what=documents, which=numbers, how=st.sampled_from(["PATCH", "DELETE"]))
    def change_reply(self, who: str, what: str, which: int, how: str) -> None:
        comment = self.play.comment_of(what, which)
        reply = None if comment is None else self.play.reply_of(what, comment, which)
        if reply is not None:
            body = {"content": self.play.words()} if how == "PATCH" else None
            self._of(who, what, how, f"/comments/{comment}/replies/{reply}", body, fields="id")

    def _update(self, who: str, what: str, body: Any) -> None:
        self._of(who, what, "PATCH", "", body)

    def _of(self, who: str, what: str, method: str, path: str, body: Any = None, **query: str) -> None:
        file_id = self.play.documents[what]
        self.play.at_google(who, method, f"/drive/v3/files/{file_id}{path}", body, **query)

    # -- bad luck

    @rule(
        fault=st.sampled_from(FAULTS),
        method=st.sampled_from(METHODS),
        user=st.none() | people,
        times=st.none() | st.integers(1, 4),
    )
    def fault(self, fault: dict[str, Any], method: str, user: str | None, times: int | None) -> None:
        match = {"method": method} | ({} if user is None else {"user": user})
        self._order({"match": match, **fault} | ({} if times is None else {"times": times}))

    @rule(method=st.sampled_from(["drive.files.update", "drive.comments.create", "drive.replies.create"]))
    def done_but_not_answered(self, method: str) -> None:
        self._order({"match": {"method": method}, "after": True, "times": 1})

    @rule(status=st.sampled_from([400, 404, 410]))
    def lost_feed_token(self, status: int) -> None:
        self._order({"match": {"method": "drive.changes.list"}, "status": status, "times": 1})

    @rule()
    def no_faults(self) -> None:
        self.play.stack.faults()

    def _order(self, fault: dict[str, Any]) -> None:
        in_force = self.play.stack.control("GET", "/sandbox/faults")
        self.play.stack.faults(*in_force, fault)

    @rule(clean=st.booleans())
    def restart(self, clean: bool) -> None:
        self.play.restart(clean=clean)

    # -- time

    @rule(seconds=st.sampled_from([1, 3, 10, 30, 90]))
    def time_passes(self, seconds: int) -> None:
        self.play.advance(seconds)

    @rule(seconds=st.sampled_from([30, 300, 700, 3600]))
    def the_machine_sleeps(self, seconds: int) -> None:
        self.play.jump(seconds)

    # -- tabs

    @precondition(lambda self: len(self.play.tabs) < 8)
    @rule(who=people, visible=st.booleans())
    def open_tab(self, who: str, visible: bool) -> None:
        self.play.tab(who, visible=visible)

    @rule(which=numbers, what=documents, comments=st.booleans())
    def watch(self, which: int, what: str, comments: bool) -> None:
        tab = self._tab(which)
        tab.wants[self.play.documents[what]] = comments
        tab.ask()

    @rule(which=numbers, what=documents)
    def unwatch(self, which: int, what: str) -> None:
        tab, file_id = self._tab(which), self.play.documents[what]
        tab.wants.pop(file_id, None)
        if tab.open:
            tab.call("documents.unwatch", fileId=file_id)
        else:
            tab.page.documents.pop(file_id, None)

    @rule(which=numbers, listing=st.sampled_from(range(len(LISTINGS))))
    def watch_listing(self, which: int, listing: int) -> None:
        tab = self._tab(which)
        tab.wants_listings[_key(listing)] = LISTINGS[listing]
        tab.ask()

    @rule(which=numbers, listing=st.sampled_from(range(len(LISTINGS))))
    def unwatch_listing(self, which: int, listing: int) -> None:
        tab = self._tab(which)
        tab.wants_listings.pop(_key(listing), None)
        for listing_id, (key, _) in list(tab.page.listings.items()):
            if key == _key(listing) and tab.open:
                tab.call("listings.unwatch", listing=listing_id)

    @rule(which=numbers)
    def hide_or_show(self, which: int) -> None:
        tab = self._tab(which)
        tab.visible = not tab.visible
        if tab.open:
            tab.call("session.attention", visible=tab.visible)

    @rule(which=numbers)
    def disconnect(self, which: int) -> None:
        self._tab(which).lose()

    @rule(which=numbers)
    def come_back(self, which: int) -> None:
        self._tab(which).connect()

    @rule(which=numbers)
    def close_tab(self, which: int) -> None:
        if which == 0 and len(self.play.tabs) > 3:
            tab = self.play.tabs[-1]
            tab.lose()
            tab.gone = True

    # -- writes through the server

    @rule(which=numbers, what=documents, how=st.sampled_from(["rename", "trash", "star", "move"]))
    def write(self, which: int, what: str, how: str) -> None:
        tab, file = self._tab(which), self.play.file(what)
        if file is None or not tab.open:
            return
        params: dict[str, Any] = {"fileId": file.id, "requestBody": {}}
        if how == "rename":
            params["requestBody"] = {"name": self.play.words()}
        elif how == "trash":
            params["requestBody"] = {"trashed": not file.trashed}
        elif how == "star":
            params["requestBody"] = {"starred": True}
        else:
            folder = self.play.world.roots[tab.email]
            params |= {"addParents": folder, "removeParents": file.parent}
        tab.call("drive.files.update", **params)

    @rule(which=numbers, what=documents, on=numbers, how=st.sampled_from("CUDRrud"))
    def write_comment(self, which: int, what: str, on: int, how: str) -> None:
        """Create, update or delete a comment, resolve it; reply, update a reply, delete it."""
        tab, play = self._tab(which), self.play
        if play.file(what) is None or not tab.open:
            return
        params: dict[str, Any] = {"fileId": play.documents[what], "requestBody": {"content": play.words()}}
        if how == "C":
            tab.call("drive.comments.create", **params)
            return
        comment = play.comment_of(what, on)
        if comment is None:
            return
        params["commentId"] = comment
        if how in "ud":
            reply = play.reply_of(what, comment, on)
            if reply is None:
                return
            params["replyId"] = reply
        if how in "Dd":
            del params["requestBody"]
        if how == "R":
            params["requestBody"]["action"] = "resolve"
        family = "comments" if how in "UD" else "replies"
        verb = {"U": "update", "u": "update", "D": "delete", "d": "delete"}.get(how, "create")
        tab.call(f"drive.{family}.{verb}", **params)

    @rule(which=numbers, what=documents, whom=people)
    def write_unshare(self, which: int, what: str, whom: str) -> None:
        tab = self._tab(which)
        if tab.open:
            permission = self.play.person(whom).permission_id
            tab.call("drive.permissions.delete", fileId=self.play.documents[what], permissionId=permission)

    @rule(which=numbers, what=st.sampled_from(MORTAL), sure=numbers)
    def write_delete(self, which: int, what: str, sure: int) -> None:
        tab = self._tab(which)
        if tab.open and sure == 0:
            tab.call("drive.files.delete", fileId=self.play.documents[what])

    def _tab(self, which: int) -> PlayedTab:
        there = [tab for tab in self.play.tabs if not tab.gone]
        return there[which % len(there)]


def _key(listing: int) -> str:
    return listing_key(LISTINGS[listing])


def test_histories() -> None:
    """What every connection was told, over whole random histories, was true, and said once."""
    many = int(os.environ.get("DOCSESSION_HISTORIES", "0"))
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=many or 25,
            stateful_step_count=60 if many else 30,
            derandomize=not many,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
