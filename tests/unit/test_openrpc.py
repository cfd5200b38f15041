"""``rpc.discover``: the catalogue as an OpenRPC document that a stranger's tool can use."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator
from twisted.trial.unittest import SynchronousTestCase

from docsession import __version__
from docsession.errors import DocsessionError
from docsession.google.drive_request import Policy, callable_methods
from tests.support import Stack

OWN = {
    "session.open",
    "session.ping",
    "session.sign_in",
    "session.sign_out",
    "session.user",
    "session.attention",
    "session.status",
    "rpc.discover",
    "documents.watch",
    "documents.unwatch",
    "documents.watching",
    "listings.watch",
    "listings.unwatch",
}


class DiscoverTestCase(SynchronousTestCase):
    def discover(self, toml: str = "") -> dict[str, Any]:
        stack = Stack(toml)
        self.addCleanup(stack.close)
        return stack.tab().call("rpc.discover")  # type: ignore[no-any-return]

    def methods(self, toml: str = "") -> dict[str, dict[str, Any]]:
        return {method["name"]: method for method in self.discover(toml)["methods"]}


class Shape(DiscoverTestCase):
    def test_document(self) -> None:
        """What OpenRPC 1.3 demands."""
        document = self.discover()
        self.assertRegex(document["openrpc"], r"\A1\.3\.\d+\Z")
        self.assertEqual(document["info"]["version"], __version__)
        self.assertTrue(document["info"]["title"])
        names = [method["name"] for method in document["methods"]]
        self.assertEqual(names, sorted(set(names)))
        for method in document["methods"]:
            self.assertTrue(method["summary"], method["name"])
            self.assertEqual(method["paramStructure"], "by-name")
            self.assertEqual(set(method["result"]), {"name", "schema"})
            Draft202012Validator.check_schema(method["result"]["schema"])
            params = [param["name"] for param in method["params"]]
            self.assertEqual(len(params), len(set(params)), method["name"])
            for param in method["params"]:
                self.assertEqual(set(param), {"name", "required", "schema"})
                self.assertIsInstance(param["required"], bool)
                Draft202012Validator.check_schema(param["schema"])

    def test_errors(self) -> None:
        """Every error there is, by name."""
        errors = self.discover()["components"]["errors"]
        self.assertEqual(
            {name: error["code"] for name, error in errors.items()},
            {kind.name: kind.code for kind in DocsessionError.__subclasses__()},
        )


class Contents(DiscoverTestCase):
    def test_all_and_no_others(self) -> None:
        """What may be called is there; what may not, or is switched off, is not."""
        names = set(self.methods())
        self.assertEqual(names, OWN | set(callable_methods(Policy())))
        for name in names:
            self.assertFalse(name.endswith(".watch") and name not in OWN, name)
        for denied in (
            "channels",
            "changes",
            "teamdrives",
            "generateCseToken",
            "emptyTrash",
            "drives.delete",
        ):
            self.assertEqual([name for name in names if denied in name], [])

    def test_switched_on(self) -> None:
        names = set(self.methods("[google]\nallow_empty_trash = true\nallow_delete_drives = true"))
        self.assertLessEqual({"drive.files.emptyTrash", "drive.drives.delete"}, names)

    def test_own_params(self) -> None:
        """Names, what must be given, and schemas that agree with what is accepted."""
        methods = self.methods()
        watch = {param["name"]: param for param in methods["documents.watch"]["params"]}
        self.assertEqual(
            {name: param["required"] for name, param in watch.items()},
            {"fileId": True, "version": False, "comments": False, "commentsMark": False},
        )
        for name, good, bad in (
            ("fileId", "x", ""),
            ("fileId", "x", 5),
            ("version", None, 5),
            ("comments", True, "yes"),
        ):
            validator = Draft202012Validator(watch[name]["schema"])
            self.assertTrue(validator.is_valid(good), (name, good))
            self.assertFalse(validator.is_valid(bad), (name, bad))
        self.assertEqual([p["name"] for p in methods["session.attention"]["params"]], ["visible"])
        self.assertEqual(methods["session.ping"]["params"], [])

    def test_drive_params(self) -> None:
        """Google's parameters, ours, and a body where the method has one."""
        methods = self.methods()

        def params(name: str) -> dict[str, bool]:
            return {param["name"]: param["required"] for param in methods[name]["params"]}

        get = params("drive.files.get")
        self.assertLessEqual({"fileId": True, "fields": False, "maxAge": False}.items(), get.items())
        self.assertNotIn("requestBody", get)
        self.assertNotIn("supportsTeamDrives", get)  # deprecated
        create = params("drive.comments.create")
        self.assertLessEqual({"fileId": True, "requestBody": False}.items(), create.items())
        self.assertNotIn("maxAge", create)
        size = next(p for p in methods["drive.files.list"]["params"] if p["name"] == "pageSize")["schema"]
        validator = Draft202012Validator(size)
        self.assertTrue(validator.is_valid(100))
        self.assertFalse(validator.is_valid(0))
        self.assertFalse(validator.is_valid("100"))

    def test_listing_params(self) -> None:
        """A live listing takes what a listing takes."""
        methods = self.methods()
        self.assertEqual(methods["listings.watch"]["params"], methods["drive.files.list"]["params"])
