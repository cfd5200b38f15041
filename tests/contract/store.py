"""What any store promises, as one suite that runs over each implementation.

A promise is an ``async`` function that is given a :class:`StoreWorld`. A test module takes the
lot: synchronously by :func:`synchronous_suite`, or one by one from :data:`PROMISES` where a real
reactor has to turn.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from docsession.config import Sessions
from docsession.errors import ConfigError
from docsession.interfaces import Store
from docsession.keys import Keys
from docsession.model import (
    ChannelRecord,
    CommentsRecord,
    DocumentRecord,
    Grant,
    JournalEntry,
    JournalKey,
    SessionRecord,
    SignInState,
    User,
)

__all__ = [
    "KEYS",
    "LIFETIMES",
    "NOW",
    "OTHER_KEYS",
    "PROMISES",
    "STAMP",
    "StoreWorld",
    "at_once",
    "prune",
    "synchronous_suite",
]

STAMP = {"issuer": "https://accounts.google.com", "client_id": "one.apps.googleusercontent.com"}
KEYS = Keys(signing=(b"s" * 32,), sealing=(b"k" * 32,))
OTHER_KEYS = Keys(signing=(b"t" * 32,), sealing=(b"l" * 32,))

NOW = 1000.0
"""What the clock of each world says at first."""
LIFETIMES = Sessions(idle=5000, absolute=9000, journal=700)
"""By which a store, or whoever prunes it, ends things."""


class StoreWorld(Protocol):
    """One place where a store keeps its things, and the stores that were opened on it."""

    async def open(self, keys: Keys = KEYS, stamp: dict[str, str] = STAMP) -> Store:
        """A store on what is saved so far. An earlier one is gone, without a goodbye."""

    async def beside(self) -> Store:
        """Where a store may be open more than once: another beside the last. Else that one."""

    async def later(self, seconds: float) -> None:
        """So much time passes, and the last one is pruned as it is once a minute."""


async def prune(store: Store, now: float) -> None:
    """As the daemon does it."""
    await store.prune(
        now=now,
        sessions_idle_before=now - LIFETIMES.idle,
        sessions_issued_before=now - LIFETIMES.absolute,
        journal_before=now - LIFETIMES.journal,
        documents_before=now - LIFETIMES.idle,
    )


async def at_once(*work: Coroutine[Any, Any, Any]) -> list[Any]:
    """The results of all, begun in this order before any of them is done."""
    begun = [Deferred.fromCoroutine(each) for each in work]
    return [await each for each in begun]


Promise = Callable[[StoreWorld], Coroutine[Any, Any, None]]
PROMISES: dict[str, Promise] = {}


def promise(check: Promise) -> Promise:
    PROMISES[check.__name__] = check
    return check


def synchronous_suite(make_world: Callable[[SynchronousTestCase], StoreWorld]) -> type[SynchronousTestCase]:
    """A TestCase with one test for each promise, for a store that never waits for a reactor."""

    def make_test(check: Promise) -> Callable[[SynchronousTestCase], None]:
        def test(case: SynchronousTestCase) -> None:
            case.successResultOf(Deferred.fromCoroutine(check(make_world(case))))

        test.__doc__ = check.__doc__
        return test

    members = {f"test_{name}": make_test(check) for name, check in PROMISES.items()}
    return type("StorePromises", (SynchronousTestCase,), members)


ANN = "100000000000000000001"
BOB = "100000000000000000002"

SESSION = SessionRecord(id="a" * 32, issued=1000.0, last_seen=1000.5)
USER = User(id=ANN, email="ann@example.com", name="Ann", picture="https://x/ann.png", scopes=("openid", "d"))
GRANT = Grant(
    generation=1, scopes=("openid",), access_token="ya29.a", access_expires=4600.25, refresh_token="1//r"
)
STATE = SignInState(
    state="s" * 43,
    session_id=SESSION.id,
    origin="http://127.0.0.1:8765",
    return_to="/files?q=1",
    verifier="v" * 64,
    nonce="n" * 32,
    expires=1600.0,
    consent_forced=True,
)
KEY = JournalKey(session_id=SESSION.id, connection="c1", call_id='"1"', digest="d" * 64)
ENTRY = JournalEntry(key=KEY, socket="w1", begun=1000.0)
DOCUMENT = DocumentRecord(
    file_id="file-1",
    version="7",
    google_version=9,
    file={
        "id": "file-1",
        "name": "Übersicht \u2028 \U0001f600",
        "size": "12",
        "trashed": False,
        "x": [1, 2.5, None],
    },
    as_of=1000.0,
    proofs={ANN: (999.0, 0.0), BOB: (998.0, 997.5)},
)
CHANNEL = ChannelRecord(
    id="channel-1",
    user_id=ANN,
    generation=1,
    state="opening",
    opened_at=1000.0,
    expires=2000.5,
)


COMMENTS = CommentsRecord({"c1": {"id": "c1", "content": "Übersicht?"}}, "2026-11-25T10:00:00.000Z", 1000.25)


# -- opening


@promise
async def what_was_saved_is_there_after_a_crash(world: StoreWorld) -> None:
    store = await world.open()
    await store.save_session(SESSION)
    await store.put_state(STATE)
    await store.save_user(USER)
    assert await store.save_grant(ANN, GRANT, replaces=None)
    assert await store.journal_begin(ENTRY)
    assert await store.save_document(DOCUMENT, replaces=None) is None
    await store.save_comments(DOCUMENT.file_id, COMMENTS)
    assert await store.add_channel(CHANNEL, replaces=None)
    store = await world.open()
    assert await store.load_session(SESSION.id) == SESSION
    assert await store.take_state(STATE.state) == STATE
    assert await store.load_user(ANN) == USER
    assert await store.load_grant(ANN) == GRANT
    assert await store.journal_find(KEY) == ENTRY
    assert await store.load_document(DOCUMENT.file_id) == DOCUMENT
    assert await store.load_comments(DOCUMENT.file_id) == COMMENTS
    assert await store.load_channel(CHANNEL.id) == CHANNEL


@promise
async def a_new_store_is_empty(world: StoreWorld) -> None:
    store = await world.open()
    assert await store.load_session(SESSION.id) is None
    assert await store.is_retired(SESSION.id) is False
    assert await store.sessions_of_user(ANN) == []
    assert await store.take_state(STATE.state) is None
    assert await store.load_user(ANN) is None
    assert await store.load_grant(ANN) is None
    assert await store.orphaned_users(1e12) == []
    assert await store.journal_find(KEY) is None
    assert await store.load_document("file-1") is None
    assert await store.load_comments("file-1") is None
    assert await store.load_channel(CHANNEL.id) is None
    assert await store.load_channels(ANN) == []
    assert await store.load_spent("2026-11-25") == {}


@promise
async def it_answers_a_ping(world: StoreWorld) -> None:
    await (await world.open()).ping()


@promise
async def it_belongs_to_one_issuer_and_client(world: StoreWorld) -> None:
    await world.open()
    for other in ({**STAMP, "issuer": "http://127.0.0.1:8766"}, {**STAMP, "client_id": "two"}):
        try:
            await world.open(stamp=other)
        except ConfigError as error:
            assert "\n" not in str(error)
            for word in (*STAMP.values(), *other.values()):
                assert word in str(error)
        else:
            raise AssertionError("a store of another stamp was opened")
    await world.open()


@promise
async def what_other_keys_sealed_counts_as_absent_and_can_be_replaced(world: StoreWorld) -> None:
    store = await world.open()
    await store.save_session(replace(SESSION, user_id=ANN))
    await store.put_state(STATE)
    await store.save_user(USER)
    await store.save_grant(ANN, GRANT, replaces=None)
    await store.save_document(DOCUMENT, replaces=None)
    await store.save_comments(DOCUMENT.file_id, COMMENTS)
    await store.add_channel(CHANNEL, replaces=None)
    store = await world.open(keys=OTHER_KEYS)
    assert await store.take_state(STATE.state) is None
    assert await store.load_user(ANN) is None
    assert await store.load_grant(ANN) is None
    assert await store.load_document(DOCUMENT.file_id) is None
    assert await store.load_comments(DOCUMENT.file_id) is None
    assert await store.sessions_of_user(ANN) == []
    assert await store.load_channel(CHANNEL.id) is None
    assert await store.load_channels(ANN) == []
    assert await store.add_channel(replace(CHANNEL, id="channel-2"), replaces=None)
    # And its owner can sign in anew: no row that nobody can read stands in the way.
    assert await store.save_grant(ANN, GRANT, replaces=None)
    assert await store.load_grant(ANN) == GRANT
    # Whatever is said to be replaced: nobody could know.
    for replaces in (None, "9.7.0123456789abcdef"):
        store = await world.open(keys=OTHER_KEYS if replaces is None else KEYS)
        assert await store.save_document(DOCUMENT, replaces=replaces) is None
        assert await store.load_document(DOCUMENT.file_id) == DOCUMENT


@promise
async def a_write_whose_outcome_cannot_be_read_is_not_one_never_made(world: StoreWorld) -> None:
    store = await world.open()
    await store.journal_begin(ENTRY)
    await store.journal_finish(KEY, "w1", b'{"result":{}}')
    store = await world.open(keys=OTHER_KEYS)
    assert await store.journal_find(KEY) == ENTRY  # outcome unknown, so never sent again


@promise
async def what_older_keys_sealed_is_read(world: StoreWorld) -> None:
    store = await world.open()
    await store.save_user(USER)
    await store.save_document(DOCUMENT, replaces=None)
    both = Keys(
        signing=OTHER_KEYS.signing + KEYS.signing,
        sealing=OTHER_KEYS.sealing + KEYS.sealing,
    )
    store = await world.open(keys=both)
    assert await store.load_user(ANN) == USER
    assert await store.load_document(DOCUMENT.file_id) == DOCUMENT
    # And is replaced by who knows it.
    newer = replace(DOCUMENT, version="8")
    assert await store.save_document(newer, replaces=DOCUMENT.mark) is None
    assert await store.save_document(DOCUMENT, replaces=newer.mark) is None


# -- browser sessions


@promise
async def a_session_is_saved_over(world: StoreWorld) -> None:
    store = await world.open()
    await store.save_session(SESSION)
    later = replace(SESSION, last_seen=2000.0, user_id=ANN)
    await store.save_session(later)
    assert await store.load_session(SESSION.id) == later


@promise
async def touching_moves_forward_only_and_makes_nothing(world: StoreWorld) -> None:
    store = await world.open()
    other = replace(SESSION, id="b" * 32)
    await store.save_session(SESSION)
    await store.save_session(other)
    await store.touch_sessions({SESSION.id: 3000.0, other.id: 1.0, "c" * 32: 3000.0})
    await store.touch_sessions({})
    assert await store.load_session(SESSION.id) == replace(SESSION, last_seen=3000.0)
    assert await store.load_session(other.id) == other
    assert await store.load_session("c" * 32) is None


@promise
async def many_are_touched_at_once(world: StoreWorld) -> None:
    store = await world.open()
    ids = [f"{number:032d}" for number in (0, 499, 500, 1000, 1200)]
    for session_id in ids:
        await store.save_session(replace(SESSION, id=session_id))
    await store.touch_sessions({f"{number:032d}": 3000.0 for number in range(1201)})
    for session_id in ids:
        assert await store.load_session(session_id) == replace(SESSION, id=session_id, last_seen=3000.0)


@promise
async def a_users_sessions_are_found_with_their_ids(world: StoreWorld) -> None:
    store = await world.open()
    of_ann = [replace(SESSION, id=letter * 32, user_id=ANN) for letter in "ab"]
    of_bob = replace(SESSION, id="c" * 32, user_id=BOB)
    for record in (*of_ann, of_bob, replace(SESSION, id="d" * 32)):
        await store.save_session(record)
    store = await world.open()
    assert sorted(await store.sessions_of_user(ANN), key=lambda record: record.id) == of_ann
    assert await store.sessions_of_user(BOB) == [of_bob]
    # A session that changed hands is its new user's alone.
    await store.save_session(replace(of_bob, user_id=ANN))
    assert await store.sessions_of_user(BOB) == []


@promise
async def a_retired_id_is_dead_and_stays_so(world: StoreWorld) -> None:
    store = await world.open()
    other = replace(SESSION, id="b" * 32, user_id=ANN)
    await store.save_session(replace(SESSION, user_id=ANN))
    await store.save_session(other)
    await store.put_state(STATE)
    # An iterator: what is given is gone through once. And one that never had a row.
    await store.retire_sessions(iter([SESSION.id, "c" * 32]), until=5000.0)
    store = await world.open()
    assert await store.load_session(SESSION.id) is None
    assert await store.is_retired(SESSION.id)
    assert await store.is_retired("c" * 32)
    assert await store.take_state(STATE.state) is None
    assert await store.sessions_of_user(ANN) == [other]
    assert not await store.is_retired(other.id)
    # A save that was under way when it was retired comes too late.
    await store.save_session(SESSION)
    assert await store.load_session(SESSION.id) is None


@promise
async def a_retirement_is_not_shortened_and_ends(world: StoreWorld) -> None:
    store = await world.open()
    await store.retire_sessions([SESSION.id], until=NOW + 4000)
    await store.retire_sessions([SESSION.id], until=NOW + 10)
    await world.later(3999)
    assert await store.is_retired(SESSION.id)
    await world.later(2)
    assert not await store.is_retired(SESSION.id)


@promise
async def which_of_many_are_retired(world: StoreWorld) -> None:
    store = await world.open()
    await store.save_session(SESSION)
    await store.retire_sessions(["b" * 32, "c" * 32], until=NOW + 10)
    assert await store.retired_among(iter([SESSION.id, "b" * 32, "d" * 32])) == {"b" * 32}
    assert await store.retired_among([]) == set()


@promise
async def a_session_ends_unseen_and_in_any_case(world: StoreWorld) -> None:
    """Idle for too long, or issued too long ago, whatever was seen of it."""
    store = await world.open()
    seen, unseen = replace(SESSION, user_id=ANN), replace(SESSION, id="b" * 32, user_id=ANN)
    await store.save_session(seen)
    await store.save_session(unseen)
    await world.later(4000)
    await store.touch_sessions({seen.id: NOW + 4000})
    await world.later(1001)
    assert await store.load_session(unseen.id) is None
    found = replace(seen, last_seen=NOW + 4000)
    assert await store.load_session(seen.id) == found
    assert await store.sessions_of_user(ANN) == [found]
    await world.later(3000)
    await store.touch_sessions({seen.id: NOW + 8001})
    await store.save_session(replace(found, last_seen=NOW + 8001))
    await world.later(998)
    assert await store.load_session(seen.id) is not None
    await world.later(2)
    assert await store.load_session(seen.id) is None
    assert await store.sessions_of_user(ANN) == []


@promise
async def a_sign_in_replaces_the_session(world: StoreWorld) -> None:
    store = await world.open()
    await store.save_session(SESSION)
    await store.put_state(replace(STATE, state="other"))
    new = SessionRecord(id="n" * 32, issued=1100.0, last_seen=1100.0, user_id=ANN)
    await store.replace_session(SESSION.id, new, until=9000.0)
    store = await world.open()
    assert await store.load_session(SESSION.id) is None
    assert await store.is_retired(SESSION.id)
    assert await store.load_session(new.id) == new
    assert await store.take_state("other") is None


# -- sign-ins under way


@promise
async def a_state_is_taken_once(world: StoreWorld) -> None:
    store = await world.open()
    await store.put_state(STATE)
    await store.put_state(replace(STATE, state="another"))
    assert await store.take_state("nobody's") is None
    assert await store.take_state(STATE.state) == STATE
    assert await store.take_state(STATE.state) is None
    store = await world.open()
    assert await store.take_state(STATE.state) is None
    assert await store.take_state("another") == replace(STATE, state="another")


@promise
async def of_two_who_take_a_state_one_has_it(world: StoreWorld) -> None:
    """A callback that comes twice, to two nodes."""
    store = await world.open()
    other = await world.beside()
    for number in range(20):
        state = replace(STATE, state=f"{number}")
        await store.put_state(state)
        taken = await at_once(store.take_state(state.state), other.take_state(state.state))
        assert sorted(taken, key=lambda each: each is None) == [state, None]


@promise
async def a_state_ends(world: StoreWorld) -> None:
    store = await world.open()
    due = replace(STATE, state="due", expires=STATE.expires + 2)
    await store.put_state(STATE)
    await store.put_state(due)
    await world.later(601)
    assert await store.take_state(STATE.state) is None
    assert await store.take_state("due") == due


# -- users and grants


@promise
async def a_grant_is_changed_only_by_who_knows_it(world: StoreWorld) -> None:
    store = await world.open()
    second = replace(GRANT, generation=2, access_token="ya29.b", refresh_token=None)
    assert not await store.save_grant(ANN, second, replaces=1)
    assert await store.load_grant(ANN) is None
    assert await store.save_grant(ANN, GRANT, replaces=None)
    assert not await store.save_grant(ANN, second, replaces=None)
    assert not await store.save_grant(ANN, second, replaces=7)
    assert await store.load_grant(ANN) == GRANT
    assert await store.save_grant(ANN, second, replaces=1)
    assert not await store.save_grant(ANN, replace(second, dead=True), replaces=1)
    store = await world.open()
    assert await store.load_grant(ANN) == second
    assert await store.save_grant(ANN, replace(second, dead=True), replaces=2)
    assert await store.load_grant(ANN) == replace(second, dead=True)
    assert await store.load_grant(BOB) is None


@promise
async def of_two_who_change_a_grant_one_does(world: StoreWorld) -> None:
    store = await world.open()
    other = await world.beside()
    await store.save_grant(ANN, GRANT, replaces=None)
    for number in range(1, 20):
        ours = replace(GRANT, generation=number + 1, access_token="ours")
        theirs = replace(GRANT, generation=number + 1, access_token="theirs")
        won = await at_once(
            store.save_grant(ANN, ours, replaces=number), other.save_grant(ANN, theirs, replaces=number)
        )
        assert sorted(won) == [False, True]
        assert await store.load_grant(ANN) == (ours if won[0] else theirs)


@promise
async def a_deleted_user_leaves_nothing_but_others(world: StoreWorld) -> None:
    store = await world.open()
    for user_id in (ANN, BOB):
        await store.save_user(replace(USER, id=user_id))
        await store.save_grant(user_id, GRANT, replaces=None)
        await store.mark_orphaned(user_id, 50.0)
        await store.add_channel(replace(CHANNEL, id=f"of {user_id}", user_id=user_id), replaces=None)
    await store.save_document(DOCUMENT, replaces=None)
    await store.delete_user(ANN)
    store = await world.open()
    assert await store.load_user(ANN) is None
    assert await store.load_grant(ANN) is None
    assert await store.orphaned_users(1e12) == [BOB]
    assert await store.load_document("file-1") == replace(DOCUMENT, proofs={BOB: DOCUMENT.proofs[BOB]})
    assert await store.load_user(BOB) == replace(USER, id=BOB)
    assert await store.load_grant(BOB) == GRANT
    assert await store.load_channels(ANN) == []
    assert [record.id for record in await store.load_channels(BOB)] == [f"of {BOB}"]


@promise
async def users_without_a_browser_are_known_by_since_when(world: StoreWorld) -> None:
    store = await world.open()
    await store.mark_orphaned(ANN, 100.0)
    await store.mark_orphaned(BOB, 200.0)
    assert await store.orphaned_users(100.0) == []
    assert await store.orphaned_users(150.0) == [ANN]
    await store.mark_orphaned(ANN, 300.0)
    store = await world.open()
    assert await store.orphaned_users(250.0) == [BOB]
    await store.mark_orphaned(BOB, None)
    await store.mark_orphaned(BOB, None)
    assert await store.orphaned_users(1e12) == [ANN]


@promise
async def since_when_somebody_is_without_a_browser_is_not_found_anew(world: StoreWorld) -> None:
    store = await world.open()
    await store.save_user(USER)
    await store.save_session(replace(SESSION, user_id=ANN))
    await store.retire_sessions([SESSION.id], until=NOW + 9000)
    await store.mark_orphaned(ANN, NOW - 10)
    await world.later(60)
    assert await store.orphaned_users(NOW) == [ANN]


@promise
async def a_session_of_a_user_ends_being_orphaned(world: StoreWorld) -> None:
    store = await world.open()
    await store.mark_orphaned(ANN, 100.0)
    await store.mark_orphaned(BOB, 100.0)
    await store.save_session(replace(SESSION, user_id=ANN))
    await store.replace_session("x" * 32, replace(SESSION, id="b" * 32, user_id=BOB), until=1.0)
    assert await store.orphaned_users(1e12) == []


@promise
async def a_user_whose_last_session_expired_is_orphaned(world: StoreWorld) -> None:
    store = await world.open()
    await store.save_user(USER)
    await store.save_grant(BOB, GRANT, replaces=None)  # a sign-in that a crash cut short
    await store.save_session(replace(SESSION, user_id=ANN))
    await store.save_session(replace(SESSION, id="b" * 32, user_id=ANN, last_seen=NOW + 9))
    await world.later(10)
    assert await store.orphaned_users(NOW + 10) == []
    assert await store.orphaned_users(1e12) == [BOB]
    await world.later(4991)  # the last but one has ended
    assert await store.orphaned_users(1e12) == [BOB]
    await world.later(9)
    assert await store.orphaned_users(NOW + 5010) == [BOB]
    assert sorted(await store.orphaned_users(NOW + 5010.5)) == [ANN, BOB]
    # It stays known since when; and who has come back is no orphan.
    await world.later(10)
    assert sorted(await store.orphaned_users(NOW + 5010.5)) == [ANN, BOB]
    again = replace(SESSION, id="c" * 32, user_id=ANN, issued=NOW + 5020, last_seen=NOW + 5020)
    await store.save_session(again)
    await world.later(10)
    assert await store.orphaned_users(1e12) == [BOB]


@promise
async def a_session_that_is_seen_keeps_its_user(world: StoreWorld) -> None:
    store = await world.open()
    await store.save_user(USER)
    await store.save_session(replace(SESSION, user_id=ANN))
    await world.later(4000)
    await store.touch_sessions({SESSION.id: NOW + 4000})
    await world.later(1500)
    assert await store.orphaned_users(1e12) == []
    await store.retire_sessions([SESSION.id], until=NOW + 9000)
    await world.later(1)
    assert await store.orphaned_users(1e12) == [ANN]


@promise
async def many_users_lose_their_last_session_at_once(world: StoreWorld) -> None:
    store = await world.open()
    users = [f"{number:021d}" for number in range(1201)]
    for user in users:
        await store.save_user(replace(USER, id=user))
        await store.save_session(replace(SESSION, id=f"{user:_<32}", user_id=user))
    await world.later(10)
    assert await store.orphaned_users(1e12) == []
    await world.later(5000)
    assert sorted(await store.orphaned_users(1e12)) == users


# -- the write journal


@promise
async def a_write_is_found_by_all_of_its_key(world: StoreWorld) -> None:
    store = await world.open()
    await store.journal_begin(ENTRY)
    for other in (
        replace(KEY, session_id="b" * 32),
        replace(KEY, connection="c2"),
        replace(KEY, call_id="1"),
        replace(KEY, digest="e" * 64),
        replace(KEY, connection=KEY.connection + KEY.call_id, call_id=""),
    ):
        assert await store.journal_find(other) is None
    assert await store.journal_find(KEY) == ENTRY


@promise
async def an_outcome_is_kept(world: StoreWorld) -> None:
    store = await world.open()
    begun = replace(ENTRY, node="one")
    assert await store.journal_begin(begun)
    outcome = b'{"result":{"data":{"id":"\xc3\xbc"}}}' * 50_000
    await store.journal_finish(KEY, "w1", outcome)
    store = await world.open()
    assert await store.journal_find(KEY) == replace(begun, outcome=outcome)
    # On the same socket a reused id is a new call: it begins anew.
    again = replace(ENTRY, begun=1001.0)
    assert await store.journal_begin(again)
    assert await store.journal_find(KEY) == again
    done = replace(ENTRY, outcome=b"x")
    assert await store.journal_begin(done)
    assert await store.journal_find(KEY) == done


@promise
async def a_write_belongs_to_the_socket_that_began_it(world: StoreWorld) -> None:
    """Another, which came after it broke, may be on another node: it neither begins nor ends it."""
    store = await world.open()
    assert await store.journal_begin(ENTRY)
    assert not await store.journal_begin(replace(ENTRY, socket="w2", node="two"))
    await store.journal_finish(KEY, "w2", b"not theirs")
    await store.journal_forget(KEY, "w2")
    assert await store.journal_find(KEY) == ENTRY
    await store.journal_finish(KEY, "w1", b"done")
    assert not await store.journal_begin(replace(ENTRY, socket="w2"))
    assert await store.journal_find(KEY) == replace(ENTRY, outcome=b"done")
    await store.journal_forget(KEY, "w1")
    assert await store.journal_begin(replace(ENTRY, socket="w2"))


@promise
async def of_two_who_begin_a_write_one_does(world: StoreWorld) -> None:
    store = await world.open()
    other = await world.beside()
    for number in range(20):
        ours = replace(ENTRY, key=replace(KEY, call_id=f"{number}"))
        theirs = replace(ours, socket="w2")
        begun = await at_once(other.journal_begin(theirs), store.journal_begin(ours))
        assert sorted(begun) == [False, True]
        assert await store.journal_find(ours.key) == (theirs if begun[0] else ours)


@promise
async def an_outcome_of_nothing_makes_no_entry(world: StoreWorld) -> None:
    store = await world.open()
    await store.journal_finish(KEY, "w1", b"x")
    assert await store.journal_find(KEY) is None


@promise
async def a_write_that_was_not_sent_is_forgotten(world: StoreWorld) -> None:
    store = await world.open()
    other = replace(ENTRY, key=replace(KEY, call_id="2"))
    await store.journal_begin(ENTRY)
    await store.journal_begin(other)
    await store.journal_forget(KEY, "w1")
    await store.journal_forget(KEY, "w1")
    store = await world.open()
    assert await store.journal_find(KEY) is None
    assert await store.journal_find(other.key) == other


@promise
async def a_write_is_remembered_so_long_after_it_began(world: StoreWorld) -> None:
    store = await world.open()
    later = replace(ENTRY, key=replace(KEY, call_id="2"), begun=NOW + 300)
    await store.journal_begin(ENTRY)
    await world.later(300)
    await store.journal_begin(later)
    await store.journal_finish(KEY, "w1", b"done")
    await world.later(399)
    assert await store.journal_find(KEY) == replace(ENTRY, outcome=b"done")
    await world.later(2)
    assert await store.journal_find(KEY) is None
    assert await store.journal_find(later.key) == later


# -- documents


@promise
async def a_document_is_replaced_only_by_who_knows_it(world: StoreWorld) -> None:
    store = await world.open()
    newer = replace(DOCUMENT, version="8", google_version=2**53 + 1, file={}, as_of=1010.5)
    other = replace(newer, file={"name": "as somebody else saw it"})
    assert await store.save_document(DOCUMENT, replaces=None) is None
    assert await store.save_document(newer, replaces=None) == DOCUMENT
    assert await store.save_document(newer, replaces=other.mark) == DOCUMENT
    assert await store.save_document(newer, replaces=DOCUMENT.mark) is None
    store = await world.open()
    assert await store.load_document("file-1") == newer
    # Of the same versions, but of another content.
    assert await store.save_document(other, replaces=DOCUMENT.mark) == newer
    assert await store.save_document(DOCUMENT, replaces=other.mark) == newer
    assert await store.load_document("file-1") == newer
    # Saved again as it is: for its time.
    assert await store.save_document(replace(newer, as_of=1020.0), replaces=newer.mark) is None
    assert await store.load_document("file-1") == replace(newer, as_of=1020.0)
    # Where there is none any more there is nothing in the way.
    await store.delete_document("file-1")
    assert await store.save_document(DOCUMENT, replaces=newer.mark) is None
    assert await store.load_document("file-1") == DOCUMENT


@promise
async def of_two_who_replace_a_document_one_does(world: StoreWorld) -> None:
    store = await world.open()
    other = await world.beside()
    last = DOCUMENT
    await store.save_document(last, replaces=None)
    for number in range(10, 30):
        ours = replace(last, version=f"{number}", file={"name": "ours"})
        theirs = replace(last, version=f"{number}", file={"name": "theirs"})
        lost = await at_once(
            store.save_document(ours, replaces=last.mark), other.save_document(theirs, replaces=last.mark)
        )
        last = ours if lost[0] is None else theirs
        assert sorted(lost, key=lambda each: each is None) == [last, None]
        assert await store.load_document("file-1") == last


@promise
async def proofs_are_added(world: StoreWorld) -> None:
    """Of each user's times the later one stays, whoever saves the state, and whether or not."""
    store = await world.open()
    await store.save_document(DOCUMENT, replaces=None)  # ANN (999, 0), BOB (998, 997.5)
    newer = replace(DOCUMENT, version="8", proofs={BOB: (5.0, 998.0), "carl": (1700000000.123456, 7.0)})
    merged = {ANN: (999.0, 0.0), BOB: (998.0, 998.0), "carl": (1700000000.123456, 7.0)}
    assert await store.save_document(newer, replaces=DOCUMENT.mark) is None
    assert await store.load_document("file-1") == replace(newer, proofs=merged)
    late = replace(DOCUMENT, version="9", proofs={ANN: (1000.0, 1001.0), BOB: (998.0, 2.0)})
    merged[ANN] = (1000.0, 1001.0)
    store = await world.open()
    assert await store.save_document(late, replaces=DOCUMENT.mark) == replace(newer, proofs=merged)
    assert await store.load_document("file-1") == replace(newer, proofs=merged)
    await store.save_document(replace(newer, proofs={}), replaces=newer.mark)
    assert await store.load_document("file-1") == replace(newer, proofs=merged)


@promise
async def doubted_proofs_never_come_back(world: StoreWorld) -> None:
    store = await world.open()
    await store.save_document(DOCUMENT, replaces=None)  # ANN (999, 0), BOB (998, 997.5)
    doubted = replace(DOCUMENT, doubted=998.5, proofs={})
    only_ann = replace(DOCUMENT, doubted=998.5, proofs={ANN: (999.0, 0.0)})
    assert await store.save_document(doubted, replaces=DOCUMENT.mark) is None
    assert await store.load_document("file-1") == only_ann
    # By whoever has not heard of it yet; not even where the state is replaced.
    assert await store.save_document(DOCUMENT, replaces=DOCUMENT.mark) is None
    assert await store.load_document("file-1") == only_ann
    # Whose state is refused is heard all the same.
    store = await world.open()
    more = replace(DOCUMENT, doubted=1000.5, proofs={BOB: (998.0, 1000.5), ANN: (1000.0, 1000.0)})
    left = replace(DOCUMENT, doubted=1000.5, proofs={BOB: (998.0, 1000.5)})
    assert await store.save_document(more, replaces=None) == left
    store = await world.open()
    assert await store.load_document("file-1") == left
    assert await store.save_document(replace(left, version="8", doubted=0.0), replaces=left.mark) is None
    assert await store.load_document("file-1") == replace(left, version="8")


@promise
async def a_deleted_document_is_gone_with_its_proofs(world: StoreWorld) -> None:
    store = await world.open()
    await store.save_document(replace(DOCUMENT, doubted=5.0), replaces=None)
    await store.save_document(replace(DOCUMENT, file_id="file-2"), replaces=None)
    for file_id in ("file-1", "file-2"):
        await store.save_comments(file_id, COMMENTS)
    await store.delete_document("file-1")
    await store.delete_document("file-1")
    assert await store.load_document("file-1") is None
    assert await store.load_comments("file-1") is None
    assert await store.load_document("file-2") == replace(DOCUMENT, file_id="file-2")
    assert await store.load_comments("file-2") == COMMENTS
    await store.save_document(replace(DOCUMENT, proofs={}), replaces=None)
    assert await store.load_document("file-1") == replace(DOCUMENT, proofs={})
    assert await store.load_comments("file-1") is None


@promise
async def one_users_proofs_are_dropped_everywhere(world: StoreWorld) -> None:
    store = await world.open()
    second = replace(DOCUMENT, file_id="file-2")
    await store.save_document(DOCUMENT, replaces=None)
    await store.save_document(second, replaces=None)
    await store.drop_proofs(ANN)
    only_bob = {BOB: DOCUMENT.proofs[BOB]}
    assert await store.load_document("file-1") == replace(DOCUMENT, proofs=only_bob)
    assert await store.load_document("file-2") == replace(second, proofs=only_bob)


@promise
async def a_document_is_forgotten_so_long_after_it_was_so(world: StoreWorld) -> None:
    store = await world.open()
    second = replace(DOCUMENT, file_id="file-2")
    for record in (DOCUMENT, second):
        await store.save_document(record, replaces=None)
        await store.save_comments(record.file_id, COMMENTS)
    await world.later(4000)
    renewed = replace(second, as_of=NOW + 4000)
    await store.save_document(renewed, replaces=second.mark)
    await store.save_document(replace(DOCUMENT, as_of=NOW + 4000), replaces="9.7.0123456789abcdef")
    await world.later(999)
    assert await store.load_document("file-1") == DOCUMENT
    await world.later(2)
    assert await store.load_document("file-1") is None
    assert await store.load_comments("file-1") is None
    assert await store.load_document("file-2") == renewed
    assert await store.load_comments("file-2") == COMMENTS
    await store.save_document(replace(DOCUMENT, as_of=NOW + 5001, proofs={}), replaces=None)
    found = await store.load_document("file-1")
    assert found is not None
    assert found.proofs == {}
    assert await store.load_comments("file-1") is None


# -- comments


@promise
async def comments_are_added(world: StoreWorld) -> None:
    store = await world.open()
    await store.save_document(DOCUMENT, replaces=None)
    await store.save_comments("file-1", CommentsRecord({}, "", 900.0))
    assert await store.load_comments("file-1") == CommentsRecord({}, "", 900.0)
    await store.save_comments("file-1", COMMENTS)
    assert await store.load_comments("file-1") == COMMENTS
    second = CommentsRecord(
        {"c1": {"id": "c1", "deleted": True}, "c2": {"id": "c2", "content": "\u2028"}}, "later", 1001.0
    )
    await store.save_comments("file-1", second)
    store = await world.open()
    assert await store.load_comments("file-1") == second
    # One that was looked up before, and comes after: what it found is added, its times are not.
    earlier = CommentsRecord({"c3": {"id": "c3"}}, "earlier", 1000.5)
    await store.save_comments("file-1", earlier)
    merged = replace(second, comments={**second.comments, **earlier.comments})
    assert await store.load_comments("file-1") == merged
    # They are of the document, not of its state.
    await store.save_document(replace(DOCUMENT, version="8"), replaces=DOCUMENT.mark)
    assert await store.load_comments("file-1") == merged


@promise
async def many_comments_are_kept(world: StoreWorld) -> None:
    store = await world.open()
    await store.save_document(DOCUMENT, replaces=None)
    many = replace(COMMENTS, comments={f"c{number}": {"n": number} for number in range(1201)})
    await store.save_comments("file-1", many)
    assert await store.load_comments("file-1") == many


@promise
async def comments_of_no_document_are_not_kept(world: StoreWorld) -> None:
    store = await world.open()
    await store.save_comments("file-1", COMMENTS)
    assert await store.load_comments("file-1") is None
    await store.save_document(DOCUMENT, replaces=None)
    assert await store.load_comments("file-1") is None


# -- what was spent


@promise
async def spent_is_kept_by_the_day_and_by_whom(world: StoreWorld) -> None:
    store = await world.open()
    assert await store.load_spent("2026-11-25") == {}
    await store.save_spent("2026-11-25", "one", 100)
    await store.save_spent("2026-11-25", "two", 40)
    await store.save_spent("2026-11-25", "one", 250)
    store = await world.open()
    assert await store.load_spent("2026-11-25") == {"one": 250, "two": 40}
    await store.save_spent("2026-11-26", "one", 5)
    assert await store.load_spent("2026-11-26") == {"one": 5}


# -- push channels


@promise
async def a_channel_is_replaced_only_by_who_knows_it(world: StoreWorld) -> None:
    store = await world.open()
    second = replace(CHANNEL, id="channel-2", generation=2)
    third = replace(CHANNEL, id="channel-3", generation=3)
    assert not await store.add_channel(second, replaces="channel-1")
    assert await store.add_channel(CHANNEL, replaces=None)
    # Two nodes that renew at once: whoever comes second reads again.
    assert not await store.add_channel(replace(CHANNEL, id="other"), replaces=None)
    assert await store.add_channel(second, replaces="channel-1")
    assert not await store.add_channel(replace(second, id="other"), replaces="channel-1")
    store = await world.open()
    assert await store.load_channel("other") is None
    assert await store.load_channels(ANN) == [second, CHANNEL]
    assert await store.add_channel(third, replaces="channel-2")
    # Another user's are nobody else's business.
    of_bob = replace(CHANNEL, id="of bob", user_id=BOB)
    assert await store.add_channel(of_bob, replaces=None)
    assert await store.load_channels(ANN) == [third, second, CHANNEL]
    # One that never came to be leaves its place to the one before.
    await store.delete_channel("channel-3")
    await store.delete_channel("channel-3")
    assert await store.add_channel(third, replaces="channel-2")
    assert await store.load_channels(BOB) == [of_bob]


@promise
async def what_became_of_a_channel_is_kept(world: StoreWorld) -> None:
    store = await world.open()
    await store.add_channel(CHANNEL, replaces=None)
    open_now = replace(CHANNEL, state="live", resource_id="what Google calls it", expires=5000.0, heard=True)
    await store.save_channel(open_now)
    await store.save_channel(replace(open_now, id="channel-9"))  # none that was never added
    store = await world.open()
    assert await store.load_channel(CHANNEL.id) == open_now
    assert await store.load_channels(ANN) == [open_now]
    assert await store.load_channel("channel-9") is None
    await world.later(3999)  # it lives as long as Google says, not as was asked
    assert await store.load_channel(CHANNEL.id) == open_now
    assert await store.load_channels(ANN) == [open_now]
    await world.later(2)
    assert await store.load_channel(CHANNEL.id) is None
    assert await store.load_channels(ANN) == []
    assert await store.add_channel(replace(CHANNEL, id="channel-2", expires=9000.0), replaces=None)


# -- housekeeping


@promise
async def a_lot_ends_at_once(world: StoreWorld) -> None:
    store = await world.open()
    await store.retire_sessions([f"{number:032d}" for number in range(1203)], until=NOW + 10)
    await store.retire_sessions(["z" * 32], until=NOW + 30)
    await world.later(20)
    for number in (0, 499, 500, 501, 1202):
        assert not await store.is_retired(f"{number:032d}")
    assert await store.is_retired("z" * 32)
