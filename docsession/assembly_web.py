"""How the web's parts fit together: cookie, who is admitted, sockets, pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IAgent

from docsession.config import Config
from docsession.connection import Connection
from docsession.directory import Directory
from docsession.economy import Economy
from docsession.google.notifications import Notifications
from docsession.interfaces import Wire
from docsession.keys import CookieSigner, Keys
from docsession.model import Identity
from docsession.signin import SignIn
from docsession.telemetry import Metrics
from docsession.web.admission import Admission
from docsession.web.answers import Proxies
from docsession.web.content import Content
from docsession.web.cookies import SessionCookie
from docsession.web.doorway import Door
from docsession.web.handshake import SocketFactory
from docsession.web.pages import Pages
from docsession.web.socket import Sockets
from docsession.web.upgrade import SocketResource
from docsession.wheel import Wheel

__all__ = ["WebSide", "assemble_web"]


@dataclass(frozen=True)
class WebSide:
    """What a listener needs, and the cookie."""

    pages: Pages
    door: Door
    cookie: SessionCookie


def assemble_web(
    config: Config,
    keys: Keys,
    *,
    clock: IReactorTime,
    wheel: Wheel,
    agent: IAgent,
    economy: Economy,
    directory: Directory,
    sign_in: SignIn,
    notifications: Notifications,
    connect: Callable[[Wire, Identity, str], Connection],
    metrics: Metrics,
    sandbox_url: str | None,
    health: Callable[[], Awaitable[Mapping[str, str]]],
    new_id: Callable[[], str],
) -> WebSide:
    """All that listens to pages, but the listeners."""
    google, limits = config.google, config.limits
    cookie = SessionCookie(CookieSigner(keys), config.server.public_url)
    sockets = Sockets(clock, limits, wheel, connect)
    factory = SocketFactory(sockets)
    admission = Admission(
        cookie,
        config.server.origins,
        directory.admits,
        is_live=directory.is_live,
        is_full=lambda: sockets.is_full,
    )
    content = Content(
        directory,
        economy.gate,
        economy.slowing,
        agent,
        clock,
        api=google.endpoints.api,
        answer_within=google.answer_within,
        silence=google.media_silence,
    )
    pages = Pages(
        directory=directory,
        sign_in=sign_in,
        content=content,
        notifications=notifications,
        cookie=cookie,
        socket=SocketResource(factory, admission, on_refused=metrics.socket_refused),
        clock=clock,
        lifetimes=config.sessions,
        limits=limits,
        public_url=config.server.public_url,
        origins=config.server.origins,
        proxies=Proxies(config.server.trusted_proxies),
        demo=config.server.demo,
        sandbox_url=None if sandbox_url is None else f"{sandbox_url}/sandbox/",
        health=health,
        new_id=new_id,
    )
    return WebSide(pages, Door(factory, admission, wheel), cookie)
