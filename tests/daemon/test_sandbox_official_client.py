"""Google's own Python client against the sandbox, over real sockets, in a process of its own."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from email.message import Message
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import googleapiclient
import pytest
import requests
from google.auth import jwt
from google.oauth2.credentials import Credentials
from google_auth_oauthlib.flow import Flow
from googleapiclient.discovery import build_from_document
from googleapiclient.errors import HttpError
from googleapiclient.http import MediaIoBaseDownload, MediaIoBaseUpload

from tests.daemon.children import Child, free_port, twistd

DOCUMENT = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents" / "drive.v3.json"
ANN, BOB = "ann@example.com", "bob@example.com"
DRIVE = "https://www.googleapis.com/auth/drive"
BACK = "http://127.0.0.1:9/back"


class Google:
    """The sandbox that runs, and clients of it."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.url = f"http://127.0.0.1:{child.port}"

    def control(self, path: str, body: object) -> Any:
        answer = requests.post(f"{self.url}/sandbox/{path}", json=body, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def service(self, credentials: Credentials) -> Any:
        """Drive as the official client sees it, with the base URL replaced wherever it stands."""
        document = json.loads(DOCUMENT.read_text())
        document["rootUrl"] = self.url + "/"
        document["baseUrl"] = f"{self.url}/{document['servicePath']}"
        document.pop("mtlsRootUrl", None)
        return build_from_document(document, credentials=credentials)

    def drive_of(self, email: str) -> Any:
        return self.service(Credentials(self.control("token", {"email": email})["access_token"]))


@pytest.fixture(scope="module")
def google(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Google]:
    port = free_port()
    listen = f"tcp:{port}:interface=127.0.0.1"
    command = twistd("docsession-sandbox", "--listen", listen, "--state", "world.json")
    with Child(command, cwd=tmp_path_factory.mktemp("sandbox"), port=port) as child:
        yield Google(child.wait_listening())


@pytest.fixture
def ann(google: Google) -> Iterator[Any]:
    with google.drive_of(ANN) as drive:
        yield drive


@pytest.fixture
def bob(google: Google) -> Iterator[Any]:
    with google.drive_of(BOB) as drive:
        yield drive


def find(drive: Any, name: str) -> str:
    found = drive.files().list(q=f"name = '{name}'", fields="files(id)").execute()["files"]
    assert len(found) == 1
    return str(found[0]["id"])


def changes_since(drive: Any, token: str) -> tuple[dict[str, bool], str]:
    """File ids with whether they were removed, as the guide says to follow the feed."""
    seen: dict[str, bool] = {}
    while True:
        page = drive.changes().list(pageToken=token, pageSize=2).execute()
        seen |= {change["fileId"]: change["removed"] for change in page["changes"]}
        if "newStartPageToken" in page:
            return seen, page["newStartPageToken"]
        token = page["nextPageToken"]


def test_list_get_create_update_delete(ann: Any) -> None:
    request = ann.files().list(pageSize=3, orderBy="name", fields="nextPageToken,files(id,name)")
    names: list[str] = []
    while request is not None:
        page = request.execute()
        names += [file["name"] for file in page["files"]]
        request = ann.files().list_next(request, page)
    assert "Autumn plan" in names
    assert names == sorted(names, key=str.lower)
    made = ann.files().create(body={"name": "By the client", "mimeType": "text/plain"}, fields="*").execute()
    changed = ann.files().update(fileId=made["id"], body={"name": "Renamed"}, fields="name,version").execute()
    assert changed["name"] == "Renamed"
    assert int(changed["version"]) > int(made["version"])
    assert ann.files().delete(fileId=made["id"]).execute() == ""
    with pytest.raises(HttpError) as refused:
        ann.files().get(fileId=made["id"]).execute()
    assert refused.value.status_code == 404
    assert refused.value.error_details[0]["reason"] == "notFound"


def test_a_query_too_long_for_a_url(ann: Any) -> None:
    """The client sends it as a POST that says it is a GET."""
    names = " or ".join(f"name = 'nothing of that name, number {n}'" for n in range(100))
    found = ann.files().list(q=f"{names} or name = 'Autumn plan'", fields="files/name").execute()
    assert found["files"] == [{"name": "Autumn plan"}]


def test_comments_and_replies(ann: Any, bob: Any) -> None:
    file_id = find(ann, "Talk for the shops")
    comment = bob.comments().create(fileId=file_id, body={"content": "Shorter?"}, fields="id").execute()
    reply = {"content": "Yes", "action": "resolve"}
    ann.replies().create(fileId=file_id, commentId=comment["id"], body=reply, fields="id").execute()
    fields = "comments(content,resolved,author(displayName,me),replies(content,action))"
    (seen,) = bob.comments().list(fileId=file_id, fields=fields).execute()["comments"]
    assert seen == {
        "content": "Shorter?",
        "resolved": True,
        "author": {"displayName": "Bob Baker", "me": True},
        "replies": [{"content": "Yes", "action": "resolve"}],
    }
    bob.comments().delete(fileId=file_id, commentId=comment["id"]).execute()
    assert bob.comments().list(fileId=file_id, fields="comments").execute() == {"comments": []}


def test_sharing_and_the_change_feed(ann: Any, bob: Any) -> None:
    file_id = find(ann, "Notes to myself")
    token = bob.changes().getStartPageToken().execute()["startPageToken"]
    assert changes_since(bob, token) == ({}, token)
    body = {"type": "user", "role": "writer", "emailAddress": BOB}
    permission = ann.permissions().create(fileId=file_id, body=body).execute()
    seen, token = changes_since(bob, token)
    assert seen == {file_id: False}
    bob.files().update(fileId=file_id, body={"description": "Bob was here"}).execute()
    assert changes_since(bob, token)[0] == {file_id: False}
    ann.permissions().delete(fileId=file_id, permissionId=permission["id"]).execute()
    assert changes_since(bob, token)[0] == {file_id: True}
    with pytest.raises(HttpError) as refused:
        bob.changes().list(pageToken="nonsense").execute()
    assert refused.value.status_code == 400


def test_bytes_with_range_and_exports(google: Google, ann: Any) -> None:
    picture = find(ann, "River bend.png")
    whole = ann.files().get_media(fileId=picture).execute()
    assert whole.startswith(b"\x89PNG")
    got = io.BytesIO()
    download = MediaIoBaseDownload(got, ann.files().get_media(fileId=picture), chunksize=300)
    chunks, done = 0, False
    while not done:
        _, done = download.next_chunk()
        chunks += 1
    assert got.getvalue() == whole
    assert chunks > 1
    document = find(ann, "Autumn plan")
    text = ann.files().export(fileId=document, mimeType="text/plain").execute()
    assert text.startswith(b"\xef\xbb\xbfAutumn catalogue\r\n")
    assert ann.files().export(fileId=document, mimeType="application/pdf").execute().startswith(b"%PDF-")


def test_revisions_about_and_drives(google: Google, ann: Any) -> None:
    document = find(ann, "Autumn plan")
    google.control("edit", {"email": ANN, "file": document, "text": "Another plan"})
    assert len(ann.revisions().list(fileId=document).execute()["revisions"]) == 2
    assert ann.about().get(fields="user(emailAddress)").execute() == {"user": {"emailAddress": ANN}}
    (drive,) = ann.drives().list().execute()["drives"]
    inside = ann.files().list(
        corpora="drive", driveId=drive["id"], includeItemsFromAllDrives=True, supportsAllDrives=True
    )
    assert [file["name"] for file in inside.execute()["files"]] == ["Minutes"]


def test_it_is_all_there_after_a_kill(google: Google) -> None:
    with google.drive_of(ANN) as ann:
        made = ann.files().create(body={"name": "Survivor"}).execute()["id"]
        google.child.kill()
        google.child.start().wait_listening()
        # The token is as good as before, too.
        assert ann.files().get(fileId=made).execute()["name"] == "Survivor"


def test_uploads(ann: Any) -> None:
    """At once, with metadata, and in pieces, with bytes of every value in them."""
    content = bytes(range(256)) * 2500
    media = MediaIoBaseUpload(io.BytesIO(content[:1000]), "video/mp4")
    made = (
        ann.files().create(body={"name": "Film"}, media_body=media, fields="id,name,size,mimeType").execute()
    )
    assert (made["name"], made["size"], made["mimeType"]) == ("Film", "1000", "video/mp4")
    assert ann.files().get_media(fileId=made["id"]).execute() == content[:1000]
    alone = MediaIoBaseUpload(io.BytesIO(b"alone"), "text/plain")
    ann.files().update(fileId=made["id"], media_body=alone).execute()
    assert ann.files().get_media(fileId=made["id"]).execute() == b"alone"
    pieces = MediaIoBaseUpload(io.BytesIO(content), "video/mp4", chunksize=256 * 1024, resumable=True)
    request = ann.files().update(
        fileId=made["id"], body={"name": "Longer"}, media_body=pieces, fields="name,size"
    )
    seen, done = [], None
    while done is None:
        status, done = request.next_chunk()
        seen += [] if status is None else [status.resumable_progress]
    assert seen == [256 * 1024, 512 * 1024]
    assert done == {"name": "Longer", "size": str(len(content))}
    assert ann.files().get_media(fileId=made["id"]).execute() == content
    text = MediaIoBaseUpload(io.BytesIO(b"Some text"), "text/plain", resumable=True)
    body = {"name": "Converted", "mimeType": "application/vnd.google-apps.document"}
    document = ann.files().create(body=body, media_body=text).execute()
    exported = ann.files().export(fileId=document["id"], mimeType="text/markdown").execute()
    assert exported == b"Some text"
    nothing = MediaIoBaseUpload(io.BytesIO(b""), "text/plain", resumable=True)
    assert ann.files().create(media_body=nothing, fields="size").execute() == {"size": "0"}


def test_a_batch(ann: Any, bob: Any) -> None:
    plan = find(ann, "Autumn plan")
    answers: dict[str, Any] = {}

    def told(name: str, answer: Any, error: HttpError | None) -> None:
        answers[name] = answer if error is None else error.status_code

    batch = ann.new_batch_http_request(callback=told)
    batch.add(ann.files().get(fileId=plan, fields="name"), request_id="read")
    batch.add(
        ann.files().update(fileId=plan, body={"description": "In a batch"}, fields="description"),
        request_id="write",
    )
    batch.add(ann.files().get(fileId="nothing"), request_id="missing")
    batch.add(bob.about().get(fields="user/emailAddress"), request_id="another's")
    batch.execute()
    assert answers == {
        "read": {"name": "Autumn plan"},
        "write": {"description": "In a batch"},
        "missing": 404,
        "another's": {"user": {"emailAddress": BOB}},
    }


class Hook:
    """A receiver of notifications, listening on loopback."""

    def __init__(self) -> None:
        told: Queue[Message] = Queue()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                told.put(self.headers)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.told = told
        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def __enter__(self) -> Hook:
        Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def next(self) -> tuple[str, str]:
        """State and channel of the next message."""
        said = self.told.get(timeout=30)
        return said["X-Goog-Resource-State"], said["X-Goog-Channel-ID"]


CHANGED = {("change", "of-bob"), ("changed", "of-bob")}


def test_push_channels(google: Google, ann: Any, bob: Any) -> None:
    with Hook() as hook:
        file_id = find(ann, "Talk for the shops")
        token = bob.changes().getStartPageToken().execute()["startPageToken"]
        body = {"id": "of-bob", "type": "web_hook", "address": hook.url, "token": "t"}
        channel = bob.changes().watch(pageToken=token, body=body).execute()
        assert hook.next() == ("sync", "of-bob")
        ann.files().update(fileId=file_id, body={"description": "Told"}).execute()
        assert hook.next() in CHANGED
        # Channels outlive the sandbox's process.
        google.child.kill()
        google.child.start().wait_listening()
        with google.drive_of(ANN) as again:
            again.files().update(fileId=file_id, body={"description": "Told again"}).execute()
        assert hook.next() in CHANGED
        stopped = {"id": channel["id"], "resourceId": channel["resourceId"]}
        with google.drive_of(BOB) as again:
            assert again.channels().stop(body=stopped).execute() == ""
            with pytest.raises(HttpError) as refused:
                again.channels().stop(body=stopped).execute()
            assert refused.value.status_code == 404
            elsewhere = body | {"address": "http://example.org/"}
            with pytest.raises(HttpError) as refused:
                again.changes().watch(pageToken=token, body=elsewhere).execute()
        assert refused.value.error_details[0]["reason"] == "push.webhookUrlNotHttps"


class _Form(HTMLParser):
    """What a browser would send of the form on a page if nothing were changed but the account."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action = ""
        self.hidden: dict[str, str] = {}
        self.boxes: list[tuple[str, str]] = []
        self.accounts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action = given["action"]
        elif tag == "input" and given.get("type") == "hidden":
            self.hidden[given["name"]] = given["value"]
        elif tag == "input" and given.get("type") == "checkbox":
            self.boxes.append((given["name"], given["value"]))
        elif tag == "input" and given.get("type") == "radio":
            self.accounts.append(given["value"])


def consent(google: Google, url: str, email: str, *, untick: str = "") -> str:
    """Press Allow; where the browser is sent then."""
    page = requests.get(url, timeout=30)
    assert page.status_code == 200, page.text
    form = _Form(page.text)
    assert email in form.accounts
    sent = [*form.hidden.items(), ("account", email), ("decision", "allow")]
    sent += [box for box in form.boxes if box[1] != untick]
    answer = requests.post(
        google.url + form.action,
        data=sent,
        headers={"Origin": google.url},
        allow_redirects=False,
        timeout=30,
    )
    assert answer.status_code in (302, 303), answer.text
    return answer.headers["Location"]


def signing_in(google: Google, scopes: list[str]) -> Flow:
    client = {
        "client_id": "a-client",
        "client_secret": "any secret",
        "auth_uri": google.url + "/o/oauth2/v2/auth",
        "token_uri": google.url + "/token",
        "redirect_uris": [BACK],
    }
    return Flow.from_client_config({"web": client}, scopes, redirect_uri=BACK)


def test_signing_in_through_the_consent_page(google: Google, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    scopes = ["openid", "https://www.googleapis.com/auth/userinfo.email", DRIVE]
    flow = signing_in(google, scopes)
    url, state = flow.authorization_url(access_type="offline", prompt="consent")
    back = consent(google, url, ANN)
    assert parse_qs(urlsplit(back).query)["state"] == [state]
    flow.fetch_token(authorization_response=back)
    credentials = flow.credentials
    assert credentials.refresh_token
    certificates = requests.get(google.url + "/oauth2/v1/certs", timeout=30).json()
    claims = jwt.decode(
        credentials.id_token, certs=certificates, audience="a-client", clock_skew_in_seconds=5
    )
    assert (claims["email"], claims["iss"]) == (ANN, google.url)
    with google.service(credentials) as drive:
        assert drive.about().get(fields="user/emailAddress").execute() == {"user": {"emailAddress": ANN}}
        # The client refreshes by itself once Google no longer takes the token.
        google.control("grants", {"email": ANN, "do": "expire_access"})
        before = credentials.token
        assert drive.files().get(fileId="root").execute()["name"] == "My Drive"
        assert credentials.token != before
    flow.oauth2session.close()


def test_a_scope_that_was_unticked_is_not_granted(google: Google, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    monkeypatch.setenv("OAUTHLIB_RELAX_TOKEN_SCOPE", "1")
    flow = signing_in(google, ["openid", DRIVE])
    url, _ = flow.authorization_url()
    flow.fetch_token(authorization_response=consent(google, url, BOB, untick=DRIVE))
    assert flow.oauth2session.token["scope"] == ["openid"]
    with google.service(flow.credentials) as drive, pytest.raises(HttpError) as refused:
        drive.files().list().execute()
    assert refused.value.status_code == 403
    flow.oauth2session.close()
