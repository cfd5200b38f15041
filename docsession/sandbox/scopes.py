"""OAuth scopes: which there are, how Google spells them in answers, and what they mean to a person."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["EMAIL", "IDENTITY", "OPENID", "PROFILE", "is_scope", "normal", "spelled", "words"]

_PREFIX = "https://www.googleapis.com/auth/"

OPENID = "openid"
EMAIL = _PREFIX + "userinfo.email"
PROFILE = _PREFIX + "userinfo.profile"

IDENTITY = frozenset({OPENID, EMAIL, PROFILE})
"""Who somebody is: given with every sign-in that asks for it, never unticked."""

_SHORT = {"email": EMAIL, "profile": PROFILE}
_SHAPE = re.compile(re.escape(_PREFIX) + r"[a-z]+(?:[._][a-z0-9]+)*")

_WORDS = {
    OPENID: "Recognise you when you come back",
    EMAIL: "Know your email address",
    PROFILE: "Know your name and picture",
    _PREFIX + "drive": "See, change, share and delete everything in your Drive",
    _PREFIX + "drive.readonly": "See and download everything in your Drive",
    _PREFIX + "drive.file": "See, change, share and delete only the Drive files you open or make with it",
    _PREFIX + "drive.appdata": "Keep its own settings in a hidden part of your Drive",
    _PREFIX
    + "drive.metadata": "See and change names and details of your Drive files, but not what is in them",
    _PREFIX + "drive.metadata.readonly": "See names and details of your Drive files, but not what is in them",
    _PREFIX + "drive.activity": "See, and add to, the record of who did what in your Drive",
    _PREFIX + "drive.activity.readonly": "See the record of who did what in your Drive",
    _PREFIX + "drive.apps.readonly": "See which apps you use with your Drive",
    _PREFIX + "drive.install": "Appear in your Drive as an app to open files with",
    _PREFIX + "drive.meet.readonly": "See Drive files that were made in Meet",
    _PREFIX + "drive.photos.readonly": "See the photos and videos in your Drive",
    _PREFIX + "drive.scripts": "Change how your Apps Scripts behave",
}


def is_scope(name: str) -> bool:
    """Whether Google could have a scope of this name."""
    return name == OPENID or name in _SHORT or _SHAPE.fullmatch(name) is not None


def normal(scopes: Iterable[str]) -> frozenset[str]:
    """Scopes under the names Google answers with; anything about identity brings ``openid`` along."""
    long = frozenset(_SHORT.get(name, name) for name in scopes)
    return long | {OPENID} if long & IDENTITY else long


def spelled(scopes: Iterable[str]) -> str:
    """Scopes as one string. Like Google's, in another order than they were asked for."""
    return " ".join(sorted(scopes))


def words(scope: str) -> str:
    """What a scope lets an app do, in plain words."""
    return _WORDS.get(scope) or f"Use “{scope.removeprefix(_PREFIX)}” for you"
