"""How the parts fit together: values first, then who is given what, in order of dependence.

Knows every part and does nothing itself. Tests call it with a fake clock, an in-memory Google
and a store of their own; the daemon calls it with real ones.
"""

from __future__ import annotations

import random
import secrets as entropy
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import count

from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IAgent, IBodyProducer

from docsession.assembly_web import assemble_web
from docsession.config import Config, Secrets
from docsession.connection import Connection
from docsession.directory import Directory
from docsession.documents import Documents
from docsession.economy import Economy
from docsession.google.cache import Cache
from docsession.google.channels import Channels
from docsession.google.drive import Drive
from docsession.google.drive_request import Policy
from docsession.google.feed import Feed
from docsession.google.grant import LiveGrant
from docsession.google.http import GoogleHttp
from docsession.google.look import Looker
from docsession.google.oauth import OAuth
from docsession.google.push import Push
from docsession.interfaces import Backend, Wire
from docsession.journal import Journal
from docsession.keys import Keys
from docsession.listings import Listings
from docsession.listings_here import ListingsHere
from docsession.methods import Catalogue
from docsession.model import Grant, Identity, User
from docsession.outgoing import tell_all
from docsession.sessions import UserSession
from docsession.signin import SignIn
from docsession.spending import Spending
from docsession.telemetry import Metrics
from docsession.user_channel import AllChannel, UserChannel
from docsession.web.cookies import SessionCookie
from docsession.web.doorway import Door
from docsession.web.pages import Pages
from docsession.wheel import Wheel

__all__ = ["Assembly", "assemble", "new_id"]


def new_id() -> str:
    """An identifier nobody can guess: 192 random bits, in characters that fit anywhere."""
    return entropy.token_urlsafe(24)


@dataclass(frozen=True)
class Assembly:
    """The parts that somebody outside still needs to hold."""

    economy: Economy
    spending: Spending
    oauth: OAuth
    channels: Channels
    directory: Directory
    documents: Documents
    sign_in: SignIn
    journal: Journal
    catalogue: Catalogue
    connect: Callable[[Wire, Identity, str], Connection]
    pages: Pages
    door: Door
    cookie: SessionCookie
    metrics: Metrics


def assemble(
    config: Config,
    given: Secrets,
    keys: Keys,
    *,
    backend: Backend,
    clock: IReactorTime,
    agent: IAgent,
    rng: random.Random,
    sandbox_url: str | None = None,
    health: Callable[[], Awaitable[Mapping[str, str]]],
    body_producer: Callable[[bytes], IBodyProducer] | None = None,
) -> Assembly:
    """Everything but listeners, the store's opening, and the order of starting and stopping."""
    google, limits, polling = config.google, config.limits, config.polling
    store = backend.store
    of_users, of_all = UserChannel(backend.bus), AllChannel(backend.bus)
    metrics = Metrics()
    wheel = Wheel(clock)

    # -- Google
    http = GoogleHttp(
        agent,
        clock,
        answer_within=google.answer_within,
        most_bytes=limits.answer_bytes,
        body_producer=body_producer,
    )
    economy = Economy(
        clock,
        rng,
        google,
        backend.shares,
        backend.leases,
        of_all,
        listeners=lambda: directory.open_connections(),
        has_channel=lambda user_id: channels.is_live(user_id),
        on_wait=metrics.waited,
    )
    gate = economy.gate
    oauth = OAuth(http, clock, google, given.client_secret, door=gate.oauth)
    drive = Drive(
        http,
        gate,
        economy.slowing,
        api=google.endpoints.api,
        clock=clock,
        rng=rng,
        tries=google.tries,
        on_request=metrics.google_request,
        on_weather=economy.troubles.weather,
        on_retry=metrics.retried,
    )
    looker = Looker(drive, clock)
    cache = Cache(
        clock,
        seconds=polling.cache,
        most_bytes=limits.cached_bytes,
        most_bytes_per_user=limits.cached_bytes_per_user,
        serve_stale=google.serve_stale,
    )

    # -- sessions and documents
    def written_again() -> None:
        """The store has lost what it had. Sessions first, and what is retired before those."""
        directory.set_back()
        channels.set_back()
        documents.write_again()

    def compared() -> None:
        """What is live here with what is stored: something that was said may have been missed."""
        directory.missed()
        documents.compare()

    def away(is_away: bool) -> None:
        economy.troubles.store(is_away)
        if not is_away:
            # What changed meanwhile was stored by nobody, and others may have stored something else.
            compared()

    store.listen(away, written_again)
    documents = Documents(
        backend,
        clock,
        rng,
        polling,
        economy.allowance,
        on_moved=cache.drop_file,
        tell_all=tell_all,
        elsewhere=lambda user_id: listings.hinted(user_id),
        observer=metrics,
    )

    push = Push(
        drive,
        keys,
        backend,
        of_users,
        clock,
        rng,
        config.push,
        held_back=economy.channels_held_back,
        new_id=new_id,
        on_changed=documents.channel_changed,
        on_hint=documents.hinted,
        on_opening=metrics.channel_opening,
        on_message=metrics.channel_message,
    )
    channels = push.channels

    def make_listings(user: UserSession) -> Listings:
        return Listings(
            user.id,
            Feed(drive, user),
            clock,
            rng,
            polling,
            economy.allowance,
            backend.leases,
            partial(of_users.say, user.id),
            read=user.calls.read_fresh,
            on_changed=user.fed,
            on_lost=user.feed_lost,
            on_written=user.wrote_elsewhere,
            on_sweep=metrics.swept,
            on_run=metrics.listed,
            new_id=new_id,
        )

    def make_user(user: User, grant: Grant, on_dead: Callable[[str], Awaitable[None]]) -> UserSession:
        return UserSession(
            user,
            make_grant=lambda dead, rights: LiveGrant(
                user.id,
                grant,
                oauth=oauth,
                store=store,
                leases=backend.leases,
                clock=clock,
                on_dead=dead,
                on_stored=lambda: of_users.say(user.id, "grant"),
                on_rights=rights,
                on_refresh=metrics.refreshed,
            ),
            make_listings=make_listings,
            on_dead=on_dead,
            drive=drive,
            looker=looker,
            cache=cache,
            documents=documents,
            channels=channels,
            heard=of_users,
            clock=clock,
        )

    journal = Journal(store, clock, backend.bus, of_users)
    directory = Directory(
        store,
        oauth,
        documents,
        clock,
        wheel,
        config.sessions,
        limits,
        make_user=make_user,
        keep_grant=google.keep_grant_after_sign_out,
        left=channels.left,
        users=of_users,
        everybody=of_all,
        leases=backend.leases,
        journal=journal,
    )

    backend.bus.on_gap(compared)
    of_all.on("moved", documents.heard)

    listings = ListingsHere(directory)
    documents.listen(listings.moved)
    listings.hear(of_users, backend.bus)

    sign_in = SignIn(
        store,
        oauth,
        directory,
        clock,
        public_url=config.server.public_url,
        callback_url=config.server.callback_url,
        within=config.sessions.sign_in_within,
        scopes=google.scopes,
        new_id=new_id,
        on_outcome=metrics.sign_in,
    )

    # -- what pages may call
    catalogue = Catalogue(
        directory=directory,
        documents=documents,
        sign_in=sign_in,
        journal=journal,
        economy=economy,
        clock=clock,
        limits=limits,
        policy=Policy(
            empty_trash=google.allow_empty_trash,
            delete_drives=google.allow_delete_drives,
            transfer_ownership=google.allow_transfer_ownership,
            domain_admin=google.allow_domain_admin,
        ),
        new_id=new_id,
    )

    process, sockets = new_id(), count()

    def connect(wire: Wire, identity: Identity, origin: str) -> Connection:
        return Connection(
            wire,
            identity,
            origin=origin,
            socket_id=f"{process}.{next(sockets)}",
            methods=catalogue.methods,
            limits=limits,
            clock=clock,
            wheel=wheel,
            on_lost=directory.lost,
            observer=metrics,
            on_lagging=documents.lags,
            on_caught_up=documents.caught_up,
        )

    web = assemble_web(
        config,
        keys,
        clock=clock,
        wheel=wheel,
        agent=agent,
        economy=economy,
        directory=directory,
        sign_in=sign_in,
        notifications=push.notifications,
        connect=connect,
        metrics=metrics,
        sandbox_url=sandbox_url,
        health=health,
        new_id=new_id,
    )

    metrics.watch("connections", "Open sockets that passed session.open.", lambda: directory.connections)
    metrics.watch("browser_sessions", "Browser sessions live here.", lambda: directory.browsers)
    metrics.watch("user_sessions", "User sessions live here.", lambda: directory.users)
    metrics.watch("documents", "Documents watched here.", lambda: len(documents))
    metrics.watch("channels", "Users whose changes Google tells us of.", lambda: len(channels))
    economy.measure(metrics)
    metrics.watch("cached_bytes", "Answers kept, in bytes of JSON.", lambda: cache.size)
    metrics.watch("writes_running", "Writes under way.", lambda: len(journal))
    return Assembly(
        economy=economy,
        spending=Spending(store, economy.budget, clock, node=backend.bus.node),
        oauth=oauth,
        channels=channels,
        directory=directory,
        documents=documents,
        sign_in=sign_in,
        journal=journal,
        catalogue=catalogue,
        connect=connect,
        pages=web.pages,
        door=web.door,
        cookie=web.cookie,
        metrics=metrics,
    )
