"""Revisions of a file's content. They are for those who may write."""

from __future__ import annotations

from collections.abc import Mapping

from docsession.sandbox.drive_request import DriveRequest, Result, Serve
from docsession.sandbox.errors import bad_request, does_not_exist, forbidden
from docsession.sandbox.media import download, refuse_download
from docsession.sandbox.records import File, Revision, is_binary
from docsession.sandbox.resources import show_revision

__all__ = ["SERVED"]

_FIELDS = {
    "keepForever": "keep_forever",
    "published": "published",
    "publishAuto": "publish_auto",
    "publishedOutsideDomain": "published_outside_domain",
}


def _revision(asked: DriveRequest, file: File) -> Revision:
    wanted = asked.ids["revisionId"]
    for revision in file.revisions:
        if revision.id == wanted:
            return revision
    if wanted == "head" and file.revisions:
        return file.revisions[-1]
    raise does_not_exist("Revision", wanted, "revisionId")


def _shown(asked: DriveRequest, revision: Revision) -> Result:
    return show_revision(revision, asked.viewer)


def _list(asked: DriveRequest) -> Result:
    file = asked.file("writer")
    revisions, token = asked.page(file.revisions, size=200, key=lambda revision: revision.id)
    answer = {
        "kind": "drive#revisionList",
        "revisions": [show_revision(revision, asked.viewer) for revision in revisions],
    }
    return answer | ({"nextPageToken": token} if token else {})


def _get(asked: DriveRequest) -> Result:
    file = asked.file("writer")
    revision = _revision(asked, file)
    if not asked.media:
        return _shown(asked, revision)
    refuse_download(file)
    if revision is not file.revisions[-1] and not revision.keep_forever:
        raise forbidden("revisionNotDownloadable", "Only revisions that are kept forever can be downloaded.")
    return download(file.name, revision.mime_type, revision.content, asked.range)


def _update(asked: DriveRequest) -> Result:
    file = asked.file("writer")
    revision = _revision(asked, file)
    wanted = {own: asked.body[name] for name, own in _FIELDS.items() if asked.body.get(name) is not None}
    if "keep_forever" in wanted and not is_binary(file.mime_type):
        raise bad_request("keepForever is only for files with binary content.", "keepForever")
    if any(getattr(revision, name) != value for name, value in wanted.items()):
        for name, value in wanted.items():
            setattr(revision, name, value)
        asked.world.touch(file)
    return _shown(asked, revision)


def _delete(asked: DriveRequest) -> Result:
    file = asked.file("writer")
    revision = _revision(asked, file)
    if not is_binary(file.mime_type):
        raise bad_request("Revisions of Docs Editors files cannot be deleted.", "revisionId")
    if revision is file.revisions[-1]:
        raise bad_request("The head revision cannot be deleted.", "revisionId")
    file.revisions.remove(revision)
    asked.world.touch(file)
    return None


SERVED: Mapping[str, Serve] = {
    "drive.revisions.delete": _delete,
    "drive.revisions.get": _get,
    "drive.revisions.list": _list,
    "drive.revisions.update": _update,
}
