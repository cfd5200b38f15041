"""Sessions on several nodes: a tab comes back anywhere, and what ends a session ends it everywhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from docsession.errors import CloseCode
from docsession.model import Identity, SessionRecord
from tests.nodes import Nodes
from tests.stack.support import held
from tests.support import Tab

ANN, BOB = "ann@example.com", "bob@example.com"


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with Nodes(3) as nodes:
        yield nodes


# --- sessions anywhere ----------------------------------------------------------------------


def test_a_tab_comes_back_on_another_node(nodes: Nodes) -> None:
    one, two, _ = nodes.running
    identity = one.sign_in(ANN, back=two)
    tab = one.tab(identity)
    nodes.kill(one)
    opened = two.tab(identity, name=tab.connection.name).wire.sent[0]["result"]
    assert (opened["how"], opened["resumed"]) == ("stored", True)
    assert opened["user"]["email"] == ANN
    three = nodes.running[1].tab(identity)
    assert three.call("drive.files.list")["data"]["files"]


def test_a_browser_that_is_not_signed_in_is_new_on_another_node(nodes: Nodes) -> None:
    one, two, _ = nodes.running
    tab = one.tab()
    opened = two.tab(tab.identity, name=tab.connection.name).wire.sent[0]["result"]
    assert (opened["how"], opened["resumed"]) == ("new", False)


def test_a_node_that_is_added_and_one_that_is_stopped(nodes: Nodes) -> None:
    identity = nodes.running[0].sign_in(ANN)
    tabs = [node.tab(identity) for node in nodes.running]
    nodes.stop(nodes.running[0])
    assert [tab.wire.closed is None for tab in tabs] == [False, True, True]
    assert nodes.add().tab(identity).call("session.user")["email"] == ANN


def test_a_node_that_is_cut_off_goes_on_with_who_is_live(nodes: Nodes) -> None:
    one, two, _ = nodes.running
    tab = one.signed_in_tab(ANN)
    nodes.cut_off(one)
    nodes.advance(10)
    assert tab.call("drive.files.list", maxAge=0)["data"]["files"]
    nodes.rejoin(one)
    assert two.tab(tab.identity).call("session.user")["email"] == ANN


# --- what ends a session ends it on every node ----------------------------------------------


def everywhere(nodes: Nodes, identity: Identity) -> list[Tab]:
    """A tab of this browser on each node."""
    return [node.tab(identity) for node in nodes.running]


def signed_out(tab: Tab, reason: str) -> bool:
    """It was told so, once, as the last thing, and closed for it."""
    assert tab.events("session.signed_out") == [{"reason": reason}]
    assert tab.wire.sent[-1]["method"] == "session.signed_out"
    assert tab.wire.closed is not None
    return tab.wire.closed[0] == CloseCode.SIGNED_OUT


def is_dead(nodes: Nodes, identity: Identity) -> bool:
    """No node knows it."""
    return not any(nodes.await_(node.assembly.directory.admits(identity)) for node in nodes.running)


def numbers(nodes: Nodes) -> list[tuple[int, int, int]]:
    """Connections, browsers and users that are live on each node."""
    each = [node.assembly.directory for node in nodes.running]
    return [(directory.connections, directory.browsers, directory.users) for directory in each]


def test_a_sign_out_closes_the_browsers_tabs_on_every_node(nodes: Nodes) -> None:
    ann, other, bob = (nodes.sign_in(email) for email in (ANN, ANN, BOB))
    tabs, others, bobs = (everywhere(nodes, identity) for identity in (ann, other, bob))
    tabs[0].call("session.sign_out")
    nodes.advance(0.9)
    assert all(signed_out(tab, "signed_out") for tab in tabs)
    assert is_dead(nodes, ann)
    assert all(tab.call("session.user") for tab in (*others, *bobs))


@pytest.mark.parametrize("how", ["everywhere", "disconnect"])
def test_everywhere_is_on_every_node(nodes: Nodes, how: str) -> None:
    browsers = [nodes.sign_in(ANN) for _ in range(3)]
    bob = nodes.signed_in_tab(BOB)
    tabs = [node.tab(identity) for node, identity in zip(nodes.running, browsers, strict=True)]
    tabs[0].call("session.sign_out", **{how: True})
    nodes.advance(0.9)
    assert all(signed_out(tab, "signed_out") for tab in tabs)
    assert all(is_dead(nodes, identity) for identity in browsers)
    assert bob.call("session.user")
    assert numbers(nodes) == [(1, 1, 1), (0, 0, 0), (0, 0, 0)]


def test_the_last_browser_that_leaves_stops_the_user_on_every_node(nodes: Nodes) -> None:
    one, two, _ = nodes.running
    ann, other = nodes.sign_in(ANN), nodes.sign_in(ANN)
    first, second = one.tab(ann), two.tab(other)
    second.call("session.sign_out")
    nodes.advance(0.9)
    assert numbers(nodes)[:2] == [(1, 1, 1), (0, 0, 1)]  # the latter lingers, as after any last tab
    third = two.tab(ann)
    first.call("session.sign_out")
    nodes.advance(0.9)
    assert signed_out(third, "signed_out")
    assert numbers(nodes) == [(0, 0, 0)] * 3


def test_a_browser_without_a_user_is_ended_everywhere_too(nodes: Nodes) -> None:
    tabs = everywhere(nodes, nodes.identity())
    tabs[1].call("session.sign_out")
    nodes.advance(0.9)
    assert all(signed_out(tab, "signed_out") for tab in tabs)
    assert is_dead(nodes, tabs[0].identity)


def test_a_grant_revoked_at_google_is_told_once_on_every_node(nodes: Nodes) -> None:
    identities = [nodes.sign_in(ANN) for _ in range(2)]
    tabs = [tab for identity in identities for tab in everywhere(nodes, identity)]
    nodes.sandbox.grants.revoke(ANN)
    tabs[1].start("drive.about.get", fields="user")
    nodes.advance(0.9)
    assert all(signed_out(tab, "revoked") for tab in tabs)
    assert all(is_dead(nodes, identity) for identity in identities)
    assert numbers(nodes) == [(0, 0, 0)] * 3


def test_a_sign_in_replaces_the_old_identifier_on_every_node(nodes: Nodes) -> None:
    one, two, _ = nodes.running
    identity = nodes.identity()
    tabs = everywhere(nodes, identity)
    ann = one.sign_in(ANN, identity=identity, back=two)
    for tab in tabs:
        assert tab.wire.sent[-1]["method"] == "session.signed_in"
        assert tab.wire.closed is not None
        assert tab.wire.closed[0] == CloseCode.SESSION_REPLACED
    assert is_dead(nodes, identity)
    tabs = everywhere(nodes, ann)
    bob = one.sign_in(BOB, identity=ann, back=two)
    assert {tab.wire.closed[0] for tab in tabs if tab.wire.closed} == {CloseCode.SESSION_REPLACED}
    nodes.advance(0.9)
    # Ann has no browser left, so nothing is polled for her anywhere.
    assert {
        user.user.email for node in nodes.running for user in node.assembly.directory.live_users()
    } == set()
    assert one.tab(bob).call("session.user")["email"] == BOB


def test_at_the_absolute_end_tabs_on_every_node_are_told() -> None:
    with Nodes(3, "[sessions]\nidle = 3600\nabsolute = 36000") as nodes:
        tabs = everywhere(nodes, nodes.sign_in(ANN))
        nodes.advance(36000 + 61, step=20)
        assert all(signed_out(tab, "expired") for tab in tabs)
        assert is_dead(nodes, tabs[0].identity)


def test_a_node_that_did_not_hear_of_it_finds_it_in_the_store(nodes: Nodes) -> None:
    for mends in ("upkeep", "gap"):
        tabs = everywhere(nodes, nodes.sign_in(ANN))
        nodes.lost = lambda channel, message: True
        tabs[0].call("session.sign_out")
        nodes.advance(0.9)
        nodes.lost = lambda channel, message: False
        assert [tab.wire.closed is None for tab in tabs] == [False, True, True]
        if mends == "gap":
            nodes.running[2].bus.gap()
            nodes.flush()
        else:
            nodes.advance(61)
        assert signed_out(tabs[2], "signed_out")
        nodes.advance(400, step=10)
        assert numbers(nodes) == [(0, 0, 0)] * 3


def test_a_node_that_cannot_look_puts_it_off(nodes: Nodes) -> None:
    tabs = everywhere(nodes, nodes.sign_in(ANN))
    nodes.cut_off(nodes.running[2])
    tabs[0].call("session.sign_out")
    nodes.running[2].bus.gap()
    nodes.advance(61)
    assert tabs[2].wire.closed is None
    nodes.rejoin(nodes.running[2])
    assert signed_out(tabs[2], "signed_out")


def test_a_session_that_is_brought_back_while_it_ends_elsewhere_is_not(nodes: Nodes) -> None:
    one, two, _ = nodes.running
    ann = one.sign_in(ANN)
    tab, waiting = one.tab(ann), Tab(two, ann)
    with held(nodes, "load_grant") as loading:
        call = waiting.start("session.open", session=ann.session_id)
        assert loading.waiting
        tab.call("session.sign_out")
        nodes.advance(0.1)
    answer = waiting.answer(call)
    assert answer is not None
    assert answer["error"]["data"]["name"] == "session_unknown"
    assert numbers(nodes)[1][:2] == (0, 0)


def test_who_signs_in_just_when_the_last_browser_leaves_stays(nodes: Nodes) -> None:
    one, two, _ = nodes.running
    first = one.signed_in_tab(ANN)
    with held(nodes, "sessions_of_user") as looking:
        first.start("session.sign_out")
        nodes.advance(0.1)
        assert looking.waiting
        new = two.signed_in_tab(ANN)
    nodes.advance(1)
    assert new.call("drive.files.list", maxAge=0)["data"]["files"]
    nodes.advance(40 * 86400, step=3600)
    assert nodes.calls().get("oauth2.revoke", 0) == 0
    assert new.call("drive.files.list", maxAge=0)["data"]["files"]


def test_a_newer_socket_on_another_node_replaces_the_older(nodes: Nodes) -> None:
    one, two, _ = nodes.running
    tab, other = (one.tab(identity) for identity in [nodes.sign_in(ANN)] * 2)
    back = two.tab(tab.identity, name=tab.connection.name)
    assert tab.wire.closed is not None
    assert tab.wire.closed[0] == CloseCode.REPLACED
    assert (back.wire.closed, other.wire.closed) == (None, None)


# --- draining -------------------------------------------------------------------------------


def test_draining_one_of_three_is_invisible(nodes: Nodes) -> None:
    one, two, three = nodes.running
    identities = [nodes.sign_in(email) for email in (ANN, ANN, BOB)]
    tabs = [one.tab(identity) for identity in identities]
    file_id = nodes.file("Autumn plan")
    for tab in tabs[:2]:
        tab.call("documents.watch", fileId=file_id)
    elsewhere = two.tab(identities[0])
    nodes.stop(one)
    assert [tab.events("server.draining") for tab in tabs] == [[{"reconnect_after": 1.0}]] * 3
    assert {tab.wire.closed and tab.wire.closed[0] for tab in tabs} == {CloseCode.DRAINING}
    assert not any(tab.events("session.signed_out") for tab in tabs)
    assert elsewhere.wire.closed is None
    assert (one.name in nodes.switchboard.buses, one.name in nodes.switchboard.holders.values()) == (
        False,
        False,
    )
    for tab, node in zip(tabs, (two, three, three), strict=True):
        opened = node.tab(tab.identity, name=tab.connection.name)
        assert opened.connection.resumed
        assert opened.call("drive.files.list")["data"]["files"]


def test_a_stopped_node_hears_nothing_more(nodes: Nodes) -> None:
    one = nodes.running[0]
    one.signed_in_tab(ANN)
    nodes.stop(one)
    assert one.bus._hear == {}


# --- once a minute --------------------------------------------------------------------------


def test_what_is_for_all_to_do_one_node_does(nodes: Nodes) -> None:
    pruned: list[float] = []
    real = nodes.store.prune

    async def prune(**arguments: float) -> None:
        pruned.append(arguments["now"])
        await real(**arguments)

    nodes.store.prune = prune  # type: ignore[method-assign]
    for _ in range(3):
        nodes.advance(20, step=1)
        nodes.add()
    began = nodes.clock.seconds()
    nodes.advance(600, step=1)
    assert 9 <= sum(when > began for when in pruned) <= 11
    nodes.kill(nodes.running[0])
    began = nodes.clock.seconds()
    nodes.advance(120, step=1)
    assert any(when > began for when in pruned)


def test_an_orphaned_grant_is_revoked_once(nodes: Nodes) -> None:
    tab = nodes.running[1].signed_in_tab(ANN)
    tab.call("session.sign_out")
    nodes.advance(30 * 86400 + 7200, step=3600)
    assert nodes.calls()["oauth2.revoke"] == 1


def test_who_is_live_anywhere_is_seen() -> None:
    with Nodes(3, "[sessions]\nidle = 3600\nabsolute = 360000") as nodes:
        tabs = [node.signed_in_tab(ANN) for node in nodes.running]
        nodes.advance(3 * 3600, step=20)
        for node in list(nodes.running):
            nodes.kill(node)
        node = nodes.add()
        assert all(node.tab(tab.identity).call("session.user") for tab in tabs)


# --- a store that is set back ---------------------------------------------------------------


def test_what_is_live_survives_an_empty_store(nodes: Nodes) -> None:
    live = [(node, node.signed_in_tab(email)) for node in nodes.running for email in (ANN, BOB)]
    not_live = nodes.sign_in(ANN)
    nodes.advance(700, step=20)  # what has no tab is not live any more
    nodes.set_back()
    for node, tab in live:
        assert tab.call("session.user")
        for other in nodes.running:
            if other is not node:
                assert other.tab(tab.identity).call("session.user") == tab.call("session.user")
    assert is_dead(nodes, not_live)
    nodes.clock.advance(3600)
    assert all(tab.call("drive.files.list")["data"]["files"] for _, tab in live)
    for node in list(nodes.running):
        nodes.kill(node)
    node = nodes.add()
    assert [node.tab(tab.identity).call("session.user") for _, tab in live]


def test_who_was_out_stays_out(nodes: Nodes) -> None:
    """Signed out, everywhere, revoked, and replaced by a sign-in, since the older state was kept."""
    one, two, three = nodes.running
    out, everywhere_out, old, bob = (nodes.sign_in(email) for email in (ANN, ANN, ANN, BOB))
    restore = nodes.snapshot()
    one.tab(out).call("session.sign_out")
    new = two.sign_in(BOB, identity=old, back=three)
    two.tab(new)
    nodes.sandbox.grants.revoke(ANN)
    tab = two.tab(everywhere_out)
    tab.start("drive.about.get", fields="user")
    nodes.advance(1)
    assert signed_out(tab, "revoked")
    restore()
    nodes.advance(10)
    assert [is_dead(nodes, identity) for identity in (out, everywhere_out, old)] == [True] * 3
    for identity in (new, bob):
        assert [node.tab(identity).call("session.user")["email"] for node in nodes.running] == [BOB] * 3


def test_one_that_ended_unheard_does_not_come_back(nodes: Nodes) -> None:
    """The node where it is still live writes back what the other knows to be over."""
    for backwards in (False, True):
        one, two, _ = nodes.running
        ann = one.sign_in(ANN)
        tab, other = one.tab(ann), two.tab(ann)
        nodes.lost = lambda channel, message: True
        tab.call("session.sign_out")
        nodes.advance(0.5)
        nodes.lost = lambda channel, message: False
        assert other.wire.closed is None
        if backwards:
            nodes.running.reverse()
        nodes.set_back()
        nodes.advance(61)
        assert signed_out(other, "signed_out")
        assert is_dead(nodes, ann)
        nodes.running.sort(key=lambda node: node.name)


def test_a_sign_in_since_then_is_newer_than_what_another_node_lives_by(nodes: Nodes) -> None:
    one, two, _ = nodes.running
    first = one.signed_in_tab(ANN)
    nodes.advance(3 * 3600, step=20)
    first.call("drive.files.list", maxAge=0)
    nodes.cut_off(one)
    nodes.set_back()
    second = two.signed_in_tab(ANN)
    nodes.rejoin(one)
    one.store.on_set_back()
    nodes.advance(10)
    users = [node.assembly.directory.live_users()[0] for node in (one, two)]
    grant = nodes.await_(nodes.store.load_grant(users[0].id))
    assert [user.grant.grant for user in users[1:]] == [grant]
    nodes.clock.advance(3600)
    assert all(tab.call("drive.files.list", maxAge=0)["data"]["files"] for tab in (first, second))
    assert {user.grant.grant for user in users} == {nodes.await_(nodes.store.load_grant(users[0].id))}


def test_restoring_is_tried_until_it_is_done(nodes: Nodes) -> None:
    one, two, _ = nodes.running
    tab = one.signed_in_tab(ANN)
    one.store.away = True
    nodes.set_back()
    nodes.advance(20)
    assert nodes.await_(nodes.store.load_session(tab.identity.session_id)) is None
    one.store.away = False
    nodes.advance(10)
    assert two.tab(tab.identity).call("session.user")


def test_more_than_fits_into_one_turn() -> None:
    with Nodes(2, "[limits]\nconnections_per_user = 1000") as nodes:
        one, two = nodes.running
        first = one.signed_in_tab(ANN)
        identities = [nodes.identity() for _ in range(110)]
        for identity in identities:
            # As if each had signed in.
            now = nodes.clock.seconds()
            record = SessionRecord(identity.session_id, identity.issued, now, first.connection.user_id)
            nodes.await_(nodes.store.save_session(record))
            one.tab(identity)
        nodes.set_back()
        assert all(two.tab(identity).call("session.user") for identity in identities)
