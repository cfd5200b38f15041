"""Browsers' params into Drive requests: what passes, what is refused and where."""

import posixpath
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from docsession.errors import Forbidden, InvalidParams, MethodNotFound
from docsession.google.drive_path import path_parameters
from docsession.google.drive_request import (
    COMMENT_FIELDS,
    DriveRequest,
    Policy,
    callable_methods,
    compose,
    escape_query,
    find_method,
    prepare,
    widen_fields,
)
from docsession.google.fields import parse, union
from docsession.google.table import TABLE, DriveMethod, Parameter

# How fast the machine is must not decide whether a property holds.
_quietly = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

_ALL_ON = Policy(empty_trash=True, delete_drives=True, transfer_ownership=True, domain_admin=True)


def _prepare(method_id: str, policy: Policy | None = None, /, **params: Any) -> DriveRequest:
    return prepare(TABLE.methods[f"drive.{method_id}"], params, policy or Policy())


_WITH_IDS = [method for method in TABLE.methods.values() if path_parameters(method.path)]
_HOSTILE = (
    st.sampled_from(["trash", "generateIds", "a:approve", "..", ".", "%2e%2e", "..;", "a;b", "a/../b"])
    | st.text(alphabet="ab./\\%?#:;2F5C", min_size=1, max_size=5)
    | st.text(max_size=6)
)


class _Case(SynchronousTestCase):
    def refused(self, path: str, method_id: str, /, **params: Any) -> str:
        """The message with which these params are refused, at that path."""
        error = self.assertRaises(InvalidParams, _prepare, method_id, **params)
        self.assertEqual(path, error.data["path"], error.message)
        return error.message


class RequestTests(_Case):
    """What a request looks like."""

    def test_read(self) -> None:
        """A read: quoted path, query in canonical order with what is always sent."""
        request = _prepare("files.get", fileId="a=b~c", fields="name, id", maxAge=0)
        self.assertEqual("drive.files.get", request.method.id)
        self.assertEqual("files/a%3Db~c", request.path)
        self.assertEqual(
            (("fields", "id,name"), ("prettyPrint", "false"), ("supportsAllDrives", "true")), request.query
        )
        self.assertEqual("a=b~c", request.file_id)
        self.assertEqual(0.0, request.max_age)
        self.assertEqual("id,name", request.fields)
        self.assertIsNone(request.body)

    def test_write(self) -> None:
        """A write: its body as it came."""
        body = {"name": "n", "properties": {"a key": "v", "gone": None}, "parents": ["p"], "size": "12"}
        request = _prepare("files.update", fileId="f", requestBody=body, addParents="p,q")
        self.assertEqual(body, request.body)
        self.assertIn(("addParents", "p,q"), request.query)
        self.assertIsNone(request.fields)
        self.assertIsNone(request.max_age)

    def test_no_body_given(self) -> None:
        """A body that may be left out is left out."""
        self.assertIsNone(_prepare("files.update", fileId="f", addParents="p").body)

    def test_several_ids(self) -> None:
        """Every id lands in its place; the verb behind a colon stays."""
        self.assertEqual(
            "files/f/comments/c/replies/r",
            _prepare("replies.get", replyId="r", fileId="f", commentId="c").path,
        )
        self.assertEqual("c", _prepare("comments.get", fileId="f", commentId="c").params["commentId"])
        self.assertEqual(
            "files/f/approvals/a:approve",
            _prepare("approvals.approve", fileId="f", approvalId="a", requestBody={}).path,
        )
        self.assertEqual("operations/op", _prepare("operations.get", name="op").path)

    def test_all_drives(self) -> None:
        """supportsAllDrives is true wherever there is such a thing, whatever the caller says."""
        for params in ({}, {"supportsAllDrives": True}, {"supportsAllDrives": False}):
            self.assertEqual(
                [("supportsAllDrives", "true")],
                [pair for pair in _prepare("files.list", **params).query if pair[0] == "supportsAllDrives"],
            )
        self.assertNotIn("supportsAllDrives", dict(_prepare("about.get").query))
        self.refused("$.supportsAllDrives", "about.get", supportsAllDrives=True)
        self.refused("$.supportsAllDrives", "files.list", supportsAllDrives="no")

    def test_values_as_text(self) -> None:
        """Integers and booleans are written as Google reads them."""
        query = dict(_prepare("files.list", pageSize=7, includeItemsFromAllDrives=False, q="ä '&").query)
        self.assertEqual("7", query["pageSize"])
        self.assertEqual("false", query["includeItemsFromAllDrives"])
        self.assertEqual("ä '&", query["q"])

    def test_repeated(self) -> None:
        """A repeated parameter is a list, and keeps its order."""
        method = _with_parameter(Parameter(location="query", type="string", repeated=True))
        request = compose(method, {"odd": ["b", "a"]})
        self.assertEqual([("odd", "b"), ("odd", "a")], [pair for pair in request.query if pair[0] == "odd"])
        widened = widen_fields(request, "id")
        self.assertEqual([("odd", "b"), ("odd", "a")], [pair for pair in widened.query if pair[0] == "odd"])
        error = self.assertRaises(InvalidParams, compose, method, {"odd": "b"})
        self.assertEqual("$.odd", error.data["path"])
        error = self.assertRaises(InvalidParams, compose, method, {"odd": ["b", 1]})
        self.assertEqual("$.odd[1]", error.data["path"])

    def test_default_fields(self) -> None:
        """Where Google demands a mask there is one; nowhere else."""
        self.assertEqual("storageQuota,user", _prepare("about.get").fields)
        for verb, params in {
            "get": {"commentId": "c"},
            "create": {"requestBody": {"content": "x"}},
            "update": {"commentId": "c", "requestBody": {"content": "x"}},
        }.items():
            request = _prepare(f"comments.{verb}", fileId="f", **params)
            self.assertEqual(parse(COMMENT_FIELDS), parse(request.fields or ""))
        listed = parse(_prepare("comments.list", fileId="f").fields or "")
        self.assertEqual({"nextPageToken", "comments"}, set(listed.parts))
        self.assertIn("replies", listed.parts["comments"].parts)
        replies = _prepare("replies.list", fileId="f", commentId="c").fields or ""
        self.assertIn("nextPageToken", replies)
        self.assertIn("action", _prepare("replies.get", fileId="f", commentId="c", replyId="r").fields or "")
        self.assertEqual("id", _prepare("comments.list", fileId="f", fields="id").fields)
        for method_id, params in {
            "comments.delete": {"fileId": "f", "commentId": "c"},
            "replies.delete": {"fileId": "f", "commentId": "c", "replyId": "r"},
            "files.get": {"fileId": "f"},
        }.items():
            self.assertIsNone(_prepare(method_id, **params).fields)
            self.assertNotIn("fields", dict(_prepare(method_id, **params).query))

    def test_key(self) -> None:
        """Two ways to ask the same have one key; other questions have others."""
        one = _prepare("files.get", fileId="f", fields="id,name", maxAge=5)
        self.assertEqual(one.key(), _prepare("files.get", fields="name, id", fileId="f").key())
        others = [
            _prepare("files.get", fileId="g", fields="id,name"),
            _prepare("files.get", fileId="f", fields="id"),
            _prepare("files.get", fileId="f"),
            _prepare("files.get", fileId="f", fields="id,name", acknowledgeAbuse=True),
            _prepare("files.list"),
        ]
        self.assertEqual(6, len({one.key(), *(other.key() for other in others)}))

    def test_escape_query(self) -> None:
        """Text inside a q cannot end its quotes."""
        self.assertEqual(r"it\'s \\ here\\\'", escape_query(r"it's \ here\'"))


class WidenTests(_Case):
    """Asking for what the hub must learn, too."""

    def test_asked(self) -> None:
        """What was asked for stays."""
        request = widen_fields(
            _prepare("files.update", fileId="f", fields="name,owners/me"), "id,version,name"
        )
        self.assertEqual("id,name,owners/me,version", request.fields)
        self.assertEqual("id,name,owners/me,version", dict(request.query)["fields"])
        self.assertEqual(sorted(request.query), list(request.query))

    def test_unasked(self) -> None:
        """What Google would have answered by itself stays."""
        request = widen_fields(_prepare("files.create"), "version")
        self.assertEqual("id,kind,mimeType,name,resourceKey,version", request.fields)
        listing = parse(widen_fields(_prepare("files.list"), "files/version").fields or "")
        self.assertEqual(listing, union(listing, parse("nextPageToken,files(id,name,version)")))

    def test_unknown_default(self) -> None:
        """Where that is not known, everything is asked for."""
        request = _prepare("permissions.get", fileId="f", permissionId="p")
        self.assertEqual("*", widen_fields(request, "id").fields)

    def test_no_answer(self) -> None:
        """Where Google answers nothing, nothing is asked for."""
        request = _prepare("files.delete", fileId="f")
        self.assertEqual(request, widen_fields(request, "id"))


class ParameterTests(_Case):
    """Parameters against their description."""

    def test_unknown(self) -> None:
        """The path is named, and the nearest right name."""
        self.assertIn("'pageSize'", self.refused("$.pageSzie", "files.list", pageSzie=1))
        self.assertIn("'fields'", self.refused("$.field", "files.list", field="id"))
        self.assertIn("'requestBody'", self.refused("$.requestbody", "files.create", requestbody={}))
        self.assertNotIn("mean", self.refused("$.zzz", "files.list", zzz=1))
        self.assertNotIn("mean", self.refused("$.teamDrive", "about.get", teamDrive=1))
        self.refused('$["a b"]', "files.list", **{"a b": 1})
        self.assertLess(len(self.refused('$["' + "x" * 64 + '"]', "files.list", **{"x" * 60_000: 1})), 200)

    def test_global(self) -> None:
        """Of the global ones only fields."""
        for name in TABLE.global_parameters - {"fields"}:
            path = '$["$.xgafv"]' if name == "$.xgafv" else f"$.{name}"
            self.assertIn("only 'fields'", self.refused(path, "files.get", fileId="f", **{name: "json"}))

    def test_deprecated(self) -> None:
        """Deprecated ones are refused with the one to take."""
        self.assertIn(
            "'supportsAllDrives'", self.refused("$.supportsTeamDrives", "files.list", supportsTeamDrives=True)
        )
        self.assertIn("'driveId'", self.refused("$.teamDriveId", "files.list", teamDriveId="d"))
        self.assertIn("'corpora'", self.refused("$.corpus", "files.list", corpus="user"))
        self.refused("$.enforceSingleParent", "files.create", enforceSingleParent=True)

    def test_required(self) -> None:
        """What is required is there."""
        self.refused("$.fileId", "files.get")
        self.refused("$.requestId", "drives.create", requestBody={"name": "n"})
        self.refused("$.commentId", "replies.list", fileId="f")

    def test_integers(self) -> None:
        """JSON integers within the range, and nothing that looks like one."""
        for wrong in (0, 1001, -1, 10**30, "10", 10.0, True, None, [10], {}):
            self.refused("$.pageSize", "files.list", pageSize=wrong)
        for right in (1, 1000):
            _prepare("files.list", pageSize=right)
        self.refused("$.pageSize", "approvals.list", fileId="f", pageSize=2**31)
        _prepare("approvals.list", fileId="f", pageSize=2**31 - 1)

    def test_wide_integers(self) -> None:
        """int64 may also be a decimal string."""
        for kind in ("integer", "string"):
            method = _with_parameter(Parameter(location="query", type=kind, format="int64"))
            for right in (5, "5", "-9223372036854775808", 2**63 - 1):
                self.assertEqual(str(right), dict(compose(method, {"odd": right}).query)["odd"])
            for wrong in (
                "",
                "5.0",
                "x",
                " 5",
                "5\n",
                "\u0665",
                "9223372036854775808",
                2**63,
                5.0,
                True,
                None,
            ):
                self.assertRaises(InvalidParams, compose, method, {"odd": wrong})

    def test_booleans(self) -> None:
        """true and false, and nothing that looks like one."""
        for wrong in ("true", 1, 0, None, "", []):
            self.refused("$.includeDeleted", "comments.list", fileId="f", includeDeleted=wrong)

    def test_strings(self) -> None:
        """Strings, whole ones."""
        for wrong in (1, None, True, ["x"], {}, "half \ud800"):
            self.refused("$.q", "files.list", q=wrong)

    def test_enum(self) -> None:
        """One of the values there are."""
        method = _with_parameter(Parameter(location="query", type="string", enum=("domain", "user")))
        compose(method, {"odd": "user"})
        error = self.assertRaises(InvalidParams, compose, method, {"odd": "usr"})
        self.assertIn("'user'", error.message)

    def test_fields(self) -> None:
        """A mask, with the place of what is wrong in it."""
        self.assertIn("character 3", self.refused("$.fields", "files.get", fileId="f", fields="a(&"))
        for wrong in ("", "a(b", None, ["id"], "id&alt=media", "a(" * 5000):
            self.refused("$.fields", "files.get", fileId="f", fields=wrong)

    def test_max_age(self) -> None:
        """Seconds."""
        self.assertEqual(1.5, _prepare("files.list", maxAge=1.5).max_age)
        self.assertEqual(86_400.0, _prepare("files.list", maxAge=10**400).max_age)
        for wrong in (-1, "5", True, None, float("nan"), [1]):
            self.refused("$.maxAge", "files.list", maxAge=wrong)


class BodyTests(_Case):
    """Request bodies against their schema."""

    def test_where_there_is_none(self) -> None:
        """A method without a body takes none."""
        self.refused("$.requestBody", "files.get", fileId="f", requestBody={})

    def test_not_an_object(self) -> None:
        """A body is an object."""
        for wrong in (None, [], "x", 1):
            self.refused("$.requestBody", "files.create", requestBody=wrong)

    def test_unknown_key(self) -> None:
        """The path is named, and the nearest right name; deep down as well."""
        message = self.refused("$.requestBody.nmae", "files.create", requestBody={"nmae": "x"})
        self.assertIn("'name'", message)
        for path, body in {
            "contentHints.thumbnail.imag": {"contentHints": {"thumbnail": {"imag": "x"}}},
            "contentRestrictions[1].readonly": {"contentRestrictions": [{}, {"readonly": True}]},
            "downloadRestrictions.itemDownloadRestriction.x": {
                "downloadRestrictions": {"itemDownloadRestriction": {"x": 1}}
            },
        }.items():
            self.refused(f"$.requestBody.{path}", "files.create", requestBody=body)

    def test_types(self) -> None:
        """Each value is of its type, deep down as well."""
        for path, body in {
            ".name": {"name": 1},
            ".starred": {"starred": "true"},
            ".parents": {"parents": "p"},
            ".parents[1]": {"parents": ["p", 2]},
            ".parents[0]": {"parents": [None]},
            ".properties": {"properties": ["x"]},
            ".properties.a": {"properties": {"a": 1}},
            ".contentHints": {"contentHints": "x"},
            ".contentRestrictions": {"contentRestrictions": {}},
            ".contentRestrictions[0]": {"contentRestrictions": ["x"]},
            ".contentRestrictions[0].readOnly": {"contentRestrictions": [{"readOnly": 1}]},
            ".imageMediaMetadata.width": {"imageMediaMetadata": {"width": 1.0}},
            ".imageMediaMetadata.aperture": {"imageMediaMetadata": {"aperture": "1"}},
            ".imageMediaMetadata.exposureTime": {"imageMediaMetadata": {"exposureTime": True}},
            ".imageMediaMetadata.exposureBias": {"imageMediaMetadata": {"exposureBias": float("inf")}},
            ".size": {"size": "many"},
            ".description": {"description": "half \udc00"},
        }.items():
            self.refused(f"$.requestBody{path}", "files.update", fileId="f", requestBody=body)
        fine = {"imageMediaMetadata": {"width": 1, "aperture": 2, "exposureTime": 0.5}, "description": None}
        _prepare("files.update", fileId="f", requestBody=fine)

    def test_enum(self) -> None:
        """One of the values there are."""
        params = {"fileId": "f", "proposalId": "p"}
        _prepare("accessproposals.resolve", **params, requestBody={"action": "DENY"})
        self.refused(
            "$.requestBody.action", "accessproposals.resolve", **params, requestBody={"action": "DENIED"}
        )

    def test_required(self) -> None:
        """What this method wants in its body is there, and is not null."""
        for params in ({}, {"requestBody": {}}, {"requestBody": {"content": None}}):
            self.refused("$.requestBody.content", "comments.create", fileId="f", **params)
        self.refused("$.requestBody.type", "permissions.create", fileId="f", requestBody={"role": "reader"})
        _prepare("permissions.update", fileId="f", permissionId="p", requestBody={"role": "reader"})
        _prepare("replies.create", fileId="f", commentId="c", requestBody={"action": "resolve"})
        self.refused(
            "$.requestBody.labelModifications[0].labelId",
            "files.modifyLabels",
            fileId="f",
            requestBody={"labelModifications": [{}]},
        )


class PolicyTests(_Case):
    """What may be called."""

    def test_never(self) -> None:
        """Some methods do not exist for a browser."""
        never = {method_id for method_id in TABLE.methods if method_id not in callable_methods(_ALL_ON)}
        self.assertEqual(
            {
                "drive.changes.getStartPageToken",
                "drive.changes.list",
                "drive.changes.watch",
                "drive.channels.stop",
                "drive.files.export",
                "drive.files.generateCseToken",
                "drive.files.watch",
                "drive.teamdrives.create",
                "drive.teamdrives.delete",
                "drive.teamdrives.get",
                "drive.teamdrives.list",
                "drive.teamdrives.update",
            },
            never,
        )
        for method_id in never:
            self.assertRaises(MethodNotFound, find_method, method_id)
            self.assertRaises(MethodNotFound, prepare, TABLE.methods[method_id], {}, _ALL_ON)
        self.assertRaises(MethodNotFound, find_method, "drive.files.frobnicate")
        self.assertEqual("drive.files.get", find_method("drive.files.get").id)

    def test_off_by_default(self) -> None:
        """Some are off until the operator says otherwise."""
        for policy, method_id, params in (
            (Policy(empty_trash=True), "files.emptyTrash", {}),
            (Policy(delete_drives=True), "drives.delete", {"driveId": "d"}),
        ):
            self.assertNotIn(f"drive.{method_id}", callable_methods(Policy()))
            self.assertIn(f"drive.{method_id}", callable_methods(policy))
            find_method(f"drive.{method_id}")
            self.assertRaises(Forbidden, _prepare, method_id, **params)
            self.assertEqual(f"drive.{method_id}", _prepare(method_id, policy, **params).method.id)

    def test_transfer_of_ownership(self) -> None:
        """However it is spelled, and also when it is only begun."""
        reader = {"role": "reader", "type": "user"}
        for method_id, params in (
            ("permissions.create", {"fileId": "f"}),
            ("permissions.update", {"fileId": "f", "permissionId": "p"}),
        ):
            for more in (
                {"requestBody": reader, "transferOwnership": True},
                {"requestBody": {**reader, "role": "owner"}},
                {"requestBody": {**reader, "role": " Owner"}},
                {"requestBody": {**reader, "role": "writer", "pendingOwner": True}},
            ):
                self.assertRaises(Forbidden, _prepare, method_id, **params, **more)
                _prepare(method_id, Policy(transfer_ownership=True), **params, **more)
            _prepare(
                method_id, **params, requestBody={**reader, "pendingOwner": False}, transferOwnership=False
            )
        self.assertRaises(
            Forbidden,
            _prepare,
            "accessproposals.resolve",
            fileId="f",
            proposalId="p",
            requestBody={"role": ["reader", "owner"]},
        )

    def test_domain_admin(self) -> None:
        """An administrator's eyes are not used unless the operator says so."""
        for method_id, params in (
            ("permissions.list", {"fileId": "f"}),
            ("permissions.delete", {"fileId": "f", "permissionId": "p"}),
            ("drives.list", {}),
            ("drives.update", {"driveId": "d", "requestBody": {}}),
        ):
            self.assertRaises(Forbidden, _prepare, method_id, **params, useDomainAdminAccess=True)
            _prepare(method_id, **params, useDomainAdminAccess=False)
            _prepare(method_id, Policy(domain_admin=True), **params, useDomainAdminAccess=True)

    def test_wrong_before_forbidden(self) -> None:
        """A wrong type is named as such."""
        self.refused("$.useDomainAdminAccess", "drives.list", useDomainAdminAccess="true")

    def test_daemon_itself(self) -> None:
        """The daemon's own calls have a door of their own, with the same checks."""
        request = compose(TABLE.methods["drive.changes.list"], {"pageToken": "7"})
        self.assertEqual("changes", request.path)
        self.assertRaises(
            InvalidParams,
            compose,
            TABLE.methods["drive.files.export"],
            {"fileId": "../a", "mimeType": "text/plain"},
        )


class IdTests(_Case):
    """No id can make one method into another."""

    def test_refused(self) -> None:
        """Whatever could leave its place in the path."""
        for wrong in (
            "",
            ".",
            "..",
            "...",
            "a/b",
            "a\\b",
            "a?b",
            "a#b",
            "a%2Fb",
            "a:b",
            "a b",
            "a\n",
            "\0",
            "\x7f",
            "ä",
            "a\u2215b",
            "\ud800",
            "x" * 257,
            None,
            1,
            True,
            ["a"],
        ):
            self.refused("$.fileId", "files.get", fileId=wrong)
            self.refused("$.replyId", "replies.delete", fileId="f", commentId="c", replyId=wrong)
        _prepare("files.get", fileId="x" * 256)

    def test_googles_words(self) -> None:
        """Words that stand at an id's place in other paths; found in the table, not listed."""
        for word in ("trash", "generateIds", "generateCseToken", "TRASH"):
            self.refused("$.fileId", "files.delete", fileId=word)
            self.refused("$.fileId", "comments.list", fileId=word)
        for alias in ("root", "appDataFolder", "startPageToken", "stop"):
            _prepare("files.get", fileId=alias)
        _prepare("drives.get", driveId="trash")
        _prepare("permissions.get", fileId="f", permissionId="trash")

    def test_verbs(self) -> None:
        """A verb behind a colon is not reached through an id."""
        self.refused("$.approvalId", "approvals.get", fileId="f", approvalId="a:approve")

    @settings(_quietly, max_examples=400)
    @given(st.sampled_from(_WITH_IDS), st.data(), _HOSTILE)
    def test_segments(self, method: DriveMethod, data: st.DataObject, hostile: str) -> None:
        """Whatever ids pass, the path is that of its own method, and of no other."""
        ids = dict.fromkeys(path_parameters(method.path), "plain")
        ids[data.draw(st.sampled_from(sorted(ids)))] = hostile
        others: dict[str, Any] = {
            name: "x" for name, p in method.parameters.items() if p.required and name not in ids
        }
        body = {"content": "x", "role": "reader", "type": "user"}
        if method.body in ("Comment", "Reply", "Permission"):
            names = TABLE.schemas[method.body]
            others["requestBody"] = {name: value for name, value in body.items() if name in names}
        try:
            request = compose(method, {**ids, **others})
        except InvalidParams as error:
            self.assertIn(error.data["path"], {f"$.{name}" for name in ids})
            return
        url = urlsplit(f"https://g/drive/v3/{request.path}?{urlencode(request.query)}")
        self.assertEqual(f"/drive/v3/{request.path}", url.path)
        self.assertEqual("", url.fragment)
        for path in (url.path, unquote(url.path), unquote(unquote(url.path))):
            self.assertEqual(url.path.count("/"), path.count("/"))
            self.assertEqual(path, posixpath.normpath(path))
            self.assertEqual({method.path}, _templates_of(path.removeprefix("/drive/v3/")))

    def test_the_router_of_the_test(self) -> None:
        """The judge above does see what it is to see."""
        self.assertEqual({"files/trash", "files/{fileId}"}, _templates_of("files/trash"))
        self.assertIn(
            "files/{fileId}/approvals/{approvalId}:approve", _templates_of("files/f/approvals/a:approve")
        )


def _with_parameter(parameter: Parameter) -> DriveMethod:
    listing = TABLE.methods["drive.files.list"]
    return DriveMethod(
        id=listing.id,
        http_method=listing.http_method,
        path=listing.path,
        parameters={"odd": parameter},
        scopes=listing.scopes,
        body=listing.body,
        response=listing.response,
        media_download=False,
        media_upload=False,
    )


def _pattern(template: str) -> Callable[[str], object]:
    return re.compile(re.sub(r"\\\{\w+\\\}", "[^/:]+", re.escape(template)), re.DOTALL).fullmatch


_ROUTES: Mapping[str, Callable[[str], object]] = {
    method.path: _pattern(method.path) for method in TABLE.methods.values()
}


def _templates_of(path: str) -> set[str]:
    return {template for template, matches in _ROUTES.items() if matches(path)}
