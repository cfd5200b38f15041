"""Comments and replies. Each write moves the file's version, and shows in everybody's log."""

from __future__ import annotations

from collections.abc import Mapping

from docsession.sandbox.drive_request import DriveRequest, Result, Serve
from docsession.sandbox.errors import DriveError, does_not_exist, forbidden, invalid, required
from docsession.sandbox.records import Comment, File, Reply, parse_time
from docsession.sandbox.resources import show_comment, show_reply
from docsession.sandbox.sharing import at_least

__all__ = ["SERVED"]


def _comment(asked: DriveRequest, file: File, *, deleted: bool) -> Comment:
    found = file.comments.get(asked.ids["commentId"])
    if found is None or (found.deleted and not deleted):
        raise does_not_exist("Comment", asked.ids["commentId"], "commentId")
    return found


def _reply(asked: DriveRequest, comment: Comment, *, deleted: bool) -> Reply:
    for reply in comment.replies:
        if reply.id == asked.ids["replyId"] and (deleted or not reply.deleted):
            return reply
    raise does_not_exist("Reply", asked.ids["replyId"], "replyId")


def _text(asked: DriveRequest) -> str:
    content = asked.body.get("content")
    if not content:
        raise DriveError(400, "required", "Comment content is required.", location="content")
    return str(content)


def _shown(asked: DriveRequest, comment: Comment) -> Result:
    deleted = bool(asked.params.get("includeDeleted"))
    return show_comment(comment, asked.viewer, with_deleted=deleted)


def _shown_reply(asked: DriveRequest, reply: Reply) -> Result:
    return show_reply(reply, asked.viewer)


# --- comments -------------------------------------------------------------------------------


def _create(asked: DriveRequest) -> Result:
    file, now = asked.file("commenter"), asked.world.now()
    comment = Comment(
        id=asked.world.new_id("AAAA", 11),
        author=asked.person.email,
        created=now,
        modified=now,
        content=_text(asked),
        quoted=asked.body.get("quotedFileContent"),
        anchor=asked.body.get("anchor") or "",
    )
    file.comments[comment.id] = comment
    asked.world.touch(file)
    return _shown(asked, comment)


def _get(asked: DriveRequest) -> Result:
    comment = _comment(asked, asked.file(), deleted=bool(asked.params.get("includeDeleted")))
    return _shown(asked, comment)


def _list(asked: DriveRequest) -> Result:
    file = asked.file()
    deleted = bool(asked.params.get("includeDeleted"))
    since = ""
    if "startModifiedTime" in asked.params:
        try:
            since = parse_time(asked.params["startModifiedTime"])
        except ValueError:
            raise invalid("startModifiedTime") from None
    found = [
        comment
        for comment in reversed(file.comments.values())
        if (deleted or not comment.deleted) and comment.modified >= since
    ]
    comments, token = asked.page(found, size=20, key=lambda comment: comment.id)
    answer = {
        "kind": "drive#commentList",
        "comments": [show_comment(each, asked.viewer, with_deleted=deleted) for each in comments],
    }
    return answer | ({"nextPageToken": token} if token else {})


def _update(asked: DriveRequest) -> Result:
    file = asked.file("commenter")
    comment = _comment(asked, file, deleted=False)
    if comment.author != asked.person.email:
        raise forbidden()
    comment.content, comment.modified = _text(asked), asked.world.now()
    asked.world.touch(file)
    return _shown(asked, comment)


def _delete(asked: DriveRequest) -> Result:
    file = asked.file("commenter")
    comment = _comment(asked, file, deleted=False)
    if comment.author != asked.person.email and not at_least(asked.world.role(asked.person, file), "writer"):
        raise forbidden()
    comment.deleted, comment.content, comment.quoted = True, "", None
    comment.modified = asked.world.now()
    asked.world.touch(file)
    return None


# --- replies --------------------------------------------------------------------------------


def _create_reply(asked: DriveRequest) -> Result:
    file, now = asked.file("commenter"), asked.world.now()
    comment = _comment(asked, file, deleted=False)
    action = asked.body.get("action") or ""
    if action not in ("", "resolve", "reopen"):
        raise invalid("action")
    if action and comment.author != asked.person.email:
        asked.file("writer")
    reply = Reply(
        id=asked.world.new_id("AAAA", 11),
        author=asked.person.email,
        created=now,
        modified=now,
        content=(asked.body.get("content") or "") if action else _text(asked),
        action=action,
    )
    comment.replies.append(reply)
    comment.modified = now
    if action:
        comment.resolved = action == "resolve"
    asked.world.touch(file)
    return _shown_reply(asked, reply)


def _get_reply(asked: DriveRequest) -> Result:
    deleted = bool(asked.params.get("includeDeleted"))
    comment = _comment(asked, asked.file(), deleted=deleted)
    return _shown_reply(asked, _reply(asked, comment, deleted=deleted))


def _list_replies(asked: DriveRequest) -> Result:
    deleted = bool(asked.params.get("includeDeleted"))
    comment = _comment(asked, asked.file(), deleted=deleted)
    found = [reply for reply in comment.replies if deleted or not reply.deleted]
    replies, token = asked.page(found, size=20, key=lambda reply: reply.id)
    answer = {"kind": "drive#replyList", "replies": [show_reply(reply, asked.viewer) for reply in replies]}
    return answer | ({"nextPageToken": token} if token else {})


def _update_reply(asked: DriveRequest) -> Result:
    file = asked.file("commenter")
    comment = _comment(asked, file, deleted=False)
    reply = _reply(asked, comment, deleted=False)
    if reply.author != asked.person.email:
        raise forbidden()
    if "content" not in asked.body:
        raise required("content")
    reply.content = _text(asked)
    reply.modified = comment.modified = asked.world.now()
    asked.world.touch(file)
    return _shown_reply(asked, reply)


def _delete_reply(asked: DriveRequest) -> Result:
    file = asked.file("commenter")
    comment = _comment(asked, file, deleted=False)
    reply = _reply(asked, comment, deleted=False)
    if reply.author != asked.person.email and not at_least(asked.world.role(asked.person, file), "writer"):
        raise forbidden()
    reply.deleted, reply.content = True, ""
    reply.modified = comment.modified = asked.world.now()
    asked.world.touch(file)
    return None


SERVED: Mapping[str, Serve] = {
    "drive.comments.create": _create,
    "drive.comments.delete": _delete,
    "drive.comments.get": _get,
    "drive.comments.list": _list,
    "drive.comments.update": _update,
    "drive.replies.create": _create_reply,
    "drive.replies.delete": _delete_reply,
    "drive.replies.get": _get_reply,
    "drive.replies.list": _list_replies,
    "drive.replies.update": _update_reply,
}
