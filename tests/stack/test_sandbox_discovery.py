"""The sandbox against Google's own description of Drive v3: every method, every answer.

The description is the discovery document that google-api-python-client ships.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import googleapiclient
import pytest
from jsonschema import Draft202012Validator

from docsession.sandbox.drive import SERVED
from docsession.sandbox.table import methods
from tests.unit.sandbox_driver import ANN, BOB, CAT, Driver, Reply

ROOT = Path(__file__).parent.parent.parent
DOCUMENT = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents" / "drive.v3.json"
FOLDER = "application/vnd.google-apps.folder"


@cache
def discovery() -> dict[str, Any]:
    return json.loads(DOCUMENT.read_text())  # type: ignore[no-any-return]


def as_json_schema(google: dict[str, Any]) -> dict[str, Any]:
    """Google's kind of schema as a JSON Schema that allows no field Google does not know."""
    if "$ref" in google:
        return {"$ref": "#/$defs/" + google["$ref"]}
    kind = google["type"]
    if kind == "any":
        return {}
    if kind == "array":
        return {"type": "array", "items": as_json_schema(google["items"])}
    if kind == "object":
        if "additionalProperties" in google:
            return {"type": "object", "additionalProperties": as_json_schema(google["additionalProperties"])}
        fields = {name: as_json_schema(each) for name, each in google.get("properties", {}).items()}
        return {"type": "object", "properties": fields, "additionalProperties": False}
    made: dict[str, Any] = {"type": kind}
    if google.get("format") in ("int64", "uint64"):
        made["pattern"] = r"^-?[0-9]+$"
    if google.get("format") == "date-time":
        made["pattern"] = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"
    if "enum" in google:
        made["enum"] = google["enum"]
    return made


@cache
def validator(schema: str) -> Draft202012Validator:
    definitions = {name: as_json_schema(each) for name, each in discovery()["schemas"].items()}
    return Draft202012Validator({"$ref": "#/$defs/" + schema, "$defs": definitions})


def google_methods(resource: dict[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    resource = discovery() if resource is None else resource
    found = {each["id"]: each for each in resource.get("methods", {}).values()}
    for below in resource.get("resources", {}).values():
        found |= google_methods(below)
    return found


class Scene:
    """A world with one of everything, and what to call its parts."""

    def __init__(self) -> None:
        self.google = google = Driver()
        self.plan = google.id_of("Autumn plan")
        self.picture = google.id_of("River bend.png")
        self.trash = google.id_of("Old draft")
        self.team = next(iter(google.sandbox.world.drives))
        self.comment = next(iter(google.sandbox.world.files[self.plan].comments))
        self.reply = google.sandbox.world.files[self.plan].comments[self.comment].replies[0].id
        self.cat = google.sandbox.world.people[CAT].permission_id
        body = {"email": CAT, "file": self.picture, "text": "another"}
        google.ask("POST", "/sandbox/edit", body=body, who=None)
        self.revision = google.sandbox.world.files[self.picture].revisions[0].id

    def stop_a_channel(self) -> Reply:
        channel = CALLS["drive.changes.watch"](self).json
        body = {"id": channel["id"], "resourceId": channel["resourceId"]}
        return self.google.drive("POST", "channels/stop", body=body)

    def ask(self, verb: str, path: str, *, who: str = ANN, **more: Any) -> Reply:
        return self.google.drive(verb, path.format(s=self), who=who, fields="*", **more)


HOOK = "https://hooks.example.com/drive"
Call = Callable[[Scene], Reply]
NEW = {
    "content": "Really?",
    "quotedFileContent": {"mimeType": "text/html", "value": "4,000"},
    "anchor": "kix.a",
}

CALLS: dict[str, Call] = {
    "drive.about.get": lambda s: s.ask("GET", "about"),
    "drive.changes.getStartPageToken": lambda s: s.ask("GET", "changes/startPageToken"),
    "drive.changes.list": lambda s: s.ask(
        "GET", "changes", pageToken=661, includeItemsFromAllDrives=True, supportsAllDrives=True
    ),
    "drive.comments.create": lambda s: s.ask("POST", "files/{s.plan}/comments", body=NEW),
    "drive.comments.delete": lambda s: s.ask("DELETE", "files/{s.plan}/comments/{s.comment}", who=BOB),
    "drive.comments.get": lambda s: s.ask("GET", "files/{s.plan}/comments/{s.comment}"),
    "drive.comments.list": lambda s: s.ask("GET", "files/{s.plan}/comments", includeDeleted=True, pageSize=1),
    "drive.comments.update": lambda s: s.ask(
        "PATCH", "files/{s.plan}/comments/{s.comment}", who=BOB, body={"content": "Is it?"}
    ),
    "drive.drives.create": lambda s: s.ask("POST", "drives", requestId="r", body={"name": "New"}),
    "drive.drives.delete": lambda s: s.ask(
        "DELETE", "drives/" + s.ask("POST", "drives", requestId="r", body={"name": "N"}).json["id"]
    ),
    "drive.drives.get": lambda s: s.ask("GET", "drives/{s.team}"),
    "drive.drives.hide": lambda s: s.ask("POST", "drives/{s.team}/hide"),
    "drive.drives.list": lambda s: s.ask("GET", "drives", pageSize=1),
    "drive.drives.unhide": lambda s: s.ask("POST", "drives/{s.team}/unhide"),
    "drive.drives.update": lambda s: s.ask(
        "PATCH",
        "drives/{s.team}",
        body={"name": "Other", "themeId": "t", "restrictions": {"domainUsersOnly": True}},
    ),
    "drive.changes.watch": lambda s: s.ask(
        "POST", "changes/watch", pageToken="660", body={"id": "c", "type": "web_hook", "address": HOOK}
    ),
    "drive.files.watch": lambda s: s.ask(
        "POST", "files/{s.plan}/watch", body={"id": "c", "type": "web_hook", "address": HOOK}
    ),
    "drive.channels.stop": lambda s: s.stop_a_channel(),
    "drive.files.copy": lambda s: s.ask("POST", "files/{s.plan}/copy", body={}),
    "drive.files.create": lambda s: s.ask(
        "POST", "files", body={"name": "n", "properties": {"a": "b"}, "appProperties": {"c": "d"}}
    ),
    "drive.files.delete": lambda s: s.ask("DELETE", "files/{s.plan}"),
    "drive.files.emptyTrash": lambda s: s.ask("DELETE", "files/trash"),
    "drive.files.export": lambda s: s.ask("GET", "files/{s.plan}/export", mimeType="text/plain"),
    "drive.files.generateIds": lambda s: s.ask("GET", "files/generateIds"),
    "drive.files.get": lambda s: s.ask("GET", "files/{s.picture}", who=BOB),
    "drive.files.list": lambda s: s.ask(
        "GET", "files", corpora="allDrives", includeItemsFromAllDrives=True, supportsAllDrives=True
    ),
    "drive.files.update": lambda s: s.ask("PATCH", "files/{s.plan}", body={"name": "n", "starred": True}),
    "drive.permissions.create": lambda s: s.ask(
        "POST",
        "files/{s.trash}/permissions",
        body={
            "type": "user",
            "role": "reader",
            "emailAddress": BOB,
            "expirationTime": "2030-01-01T00:00:00Z",
        },
    ),
    "drive.permissions.delete": lambda s: s.ask("DELETE", "files/{s.plan}/permissions/{s.cat}"),
    "drive.permissions.get": lambda s: s.ask("GET", "files/{s.plan}/permissions/{s.cat}"),
    "drive.permissions.list": lambda s: s.ask("GET", "files/{s.plan}/permissions"),
    "drive.permissions.update": lambda s: s.ask(
        "PATCH", "files/{s.plan}/permissions/{s.cat}", body={"role": "reader"}
    ),
    "drive.replies.create": lambda s: s.ask(
        "POST", "files/{s.plan}/comments/{s.comment}/replies", body={"action": "resolve", "content": "Done"}
    ),
    "drive.replies.delete": lambda s: s.ask(
        "DELETE", "files/{s.plan}/comments/{s.comment}/replies/{s.reply}"
    ),
    "drive.replies.get": lambda s: s.ask("GET", "files/{s.plan}/comments/{s.comment}/replies/{s.reply}"),
    "drive.replies.list": lambda s: s.ask("GET", "files/{s.plan}/comments/{s.comment}/replies"),
    "drive.replies.update": lambda s: s.ask(
        "PATCH", "files/{s.plan}/comments/{s.comment}/replies/{s.reply}", body={"content": "Soon"}
    ),
    "drive.revisions.delete": lambda s: s.ask("DELETE", "files/{s.picture}/revisions/{s.revision}", who=CAT),
    "drive.revisions.get": lambda s: s.ask("GET", "files/{s.picture}/revisions/{s.revision}", who=CAT),
    "drive.revisions.list": lambda s: s.ask("GET", "files/{s.plan}/revisions"),
    "drive.revisions.update": lambda s: s.ask(
        "PATCH", "files/{s.picture}/revisions/{s.revision}", who=CAT, body={"keepForever": True}
    ),
}


def test_the_table_is_made_from_this_document() -> None:
    """A newer client brings a newer document; then what was made of the older one is still in it."""
    spec = spec_from_file_location("make_sandbox_table", ROOT / "scripts" / "make_sandbox_table.py")
    assert spec is not None
    assert spec.loader is not None
    maker = module_from_spec(spec)
    spec.loader.exec_module(maker)
    table = json.loads(maker.TARGET.read_text())
    if table["revision"] == discovery()["revision"]:
        assert table == maker.table_of(discovery())
    else:
        assert set(table["methods"]) <= set(google_methods())


def test_every_served_method_is_called_here() -> None:
    assert set(CALLS) == {*SERVED, "drive.changes.watch", "drive.files.watch", "drive.channels.stop"}


@pytest.mark.parametrize("method", sorted(CALLS))
def test_answers_are_as_google_describes_them(method: str) -> None:
    answer = CALLS[method](Scene())
    assert answer.status in (200, 204), answer.body
    schema = google_methods()[method].get("response", {}).get("$ref")
    if schema is None:
        assert answer.status == 204 or method == "drive.files.export"
    else:
        assert answer.json, "an empty answer proves nothing"
        validator(schema).validate(answer.json)


@pytest.mark.parametrize("method", sorted(set(methods()) - set(CALLS)))
def test_every_other_method_says_that_it_is_not_served(method: str) -> None:
    spec = google_methods()[method]
    google = Driver()
    path = spec["path"]
    for name in spec.get("parameterOrder", []):
        path = path.replace("{" + name + "}", "x")
    token = google.token(ANN, " ".join(scope.rsplit("/", 1)[1] for scope in spec["scopes"]))
    answer = google.drive(spec["httpMethod"], path, token=token)
    assert answer.reason == "501 notImplemented"
    assert method in answer.json["error"]["message"]


def test_every_file_anybody_sees_is_as_google_describes_it() -> None:
    google = Driver()
    for who in (ANN, BOB, CAT):
        for file_id in google.sandbox.world.files:
            answer = google.drive("GET", f"files/{file_id}", who=who, fields="*", supportsAllDrives=True)
            if answer.status == 200:
                validator("File").validate(answer.json)


def test_unlisted_fields_fail_the_validation() -> None:
    """The check itself can fail."""
    assert not validator("File").is_valid({"bogus": 1})
    assert not validator("File").is_valid({"version": 7})
    assert not validator("FileList").is_valid({"files": [{"createdTime": "yesterday"}]})
