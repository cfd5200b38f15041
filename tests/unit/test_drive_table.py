"""The table of Drive's methods: what is in it, and that it is what the script makes."""

import importlib.util
import json
import tempfile
from pathlib import Path
from types import ModuleType

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from docsession.google.table import TABLE, load

_SCRIPT = Path(__file__).parents[2] / "scripts" / "make_drive_table.py"


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_drive_table", _SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class ScriptTests(SynchronousTestCase):
    """``scripts/make_drive_table.py``."""

    def setUp(self) -> None:
        self.script = _script()
        try:
            self.document = json.loads(self.script.shipped_document())
        except ModuleNotFoundError:
            raise SkipTest("google-api-python-client is not installed") from None

    def test_committed(self) -> None:
        """The committed table is what the script writes from the document of its revision.

        A newer google-api-python-client brings a newer document; then what was made of the
        older one must still be in it.
        """
        made = self.script.text_of(self.script.table_of(self.document))
        if self.document["revision"] == TABLE.revision:
            self.assertEqual(self.script.TABLE.read_text("utf-8"), made)
        else:
            self.assertLessEqual(TABLE.methods.keys(), load(made.encode()).methods.keys())

    def test_deterministic(self) -> None:
        """The order of things in the document does not matter."""
        turned = json.loads(json.dumps(self.document, sort_keys=True))
        self.assertEqual(
            self.script.text_of(self.script.table_of(self.document)),
            self.script.text_of(self.script.table_of(turned)),
        )

    def test_check(self) -> None:
        """``--check`` writes nothing, and fails on a difference."""
        before = self.script.TABLE.read_bytes()
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "document.json"
            self.document["revision"] = "19700101"
            path.write_text(json.dumps(self.document), "utf-8")
            self.assertEqual(1, self.script.main(["--check", "--document", str(path)]))
        self.assertEqual(before, self.script.TABLE.read_bytes())

    def test_write_then_check(self) -> None:
        """What was written passes the check, and loads."""
        with tempfile.TemporaryDirectory() as directory:
            self.script.TABLE = Path(directory) / "table.json"
            self.assertEqual(1, self.script.main(["--check"]))
            self.assertEqual(0, self.script.main([]))
            self.assertEqual(0, self.script.main(["--check"]))
            self.assertEqual(self.document["revision"], load(self.script.TABLE.read_bytes()).revision)

    def test_strange_path(self) -> None:
        """A kind of path that the daemon could not guard never gets into the table."""
        self.document["resources"]["operations"]["methods"]["get"]["path"] = "operations/{+name}"
        self.assertRaises(SystemExit, self.script.table_of, self.document)


class TableTests(SynchronousTestCase):
    """``TABLE``."""

    def test_whole(self) -> None:
        """Every method is there, with all that its description says."""
        self.assertGreaterEqual(len(TABLE.methods), 64)
        self.assertRegex(TABLE.revision, r"\A\d{8}\Z")
        self.assertEqual("drive/v3/", TABLE.service_path)
        for method_id, method in TABLE.methods.items():
            self.assertEqual(method_id, method.id)
            self.assertTrue(method.scopes, method_id)
            self.assertIn(method.http_method, {"GET", "POST", "PATCH", "DELETE"})
            if method.body is not None:
                self.assertIn(method.body, TABLE.schemas)
        listing = TABLE.methods["drive.files.list"]
        self.assertEqual("files", listing.path)
        self.assertEqual(
            (1, 1000), (listing.parameters["pageSize"].minimum, listing.parameters["pageSize"].maximum)
        )
        self.assertEqual("driveId", listing.parameters["teamDriveId"].instead)
        self.assertIn("https://www.googleapis.com/auth/drive.metadata.readonly", listing.scopes)
        self.assertEqual("FileList", listing.response)

    def test_frozen(self) -> None:
        """It is shared by all, so nobody changes it."""
        method = TABLE.methods["drive.files.get"]
        with self.assertRaises(AttributeError):
            method.path = "files/trash"  # type: ignore[misc]
        with self.assertRaises(TypeError):
            method.parameters["x"] = method.parameters["fileId"]  # type: ignore[index]
        with self.assertRaises(TypeError):
            TABLE.methods["x"] = method  # type: ignore[index]
        with self.assertRaises(TypeError):
            TABLE.schemas["File"]["x"] = TABLE.schemas["File"]["id"]  # type: ignore[index]

    def test_references(self) -> None:
        """Every schema that another names is there."""

        def walk(shape: object) -> None:
            ref = getattr(shape, "ref", None)
            if ref is not None:
                self.assertIn(ref, TABLE.schemas)
            for part in (getattr(shape, "properties", None) or {}).values():
                walk(part)
            for key in ("items", "additional_properties"):
                if getattr(shape, key, None) is not None:
                    walk(getattr(shape, key))

        for properties in TABLE.schemas.values():
            for shape in properties.values():
                walk(shape)

    def test_cost(self) -> None:
        """Google's published price list."""
        for method_id, cost in {
            "drive.files.get": 5,
            "drive.about.get": 5,
            "drive.files.generateIds": 5,
            "drive.changes.getStartPageToken": 5,
            "drive.files.list": 100,
            "drive.files.listLabels": 100,
            "drive.changes.list": 100,
            "drive.comments.list": 100,
            "drive.files.export": 200,
            "drive.files.download": 200,
            "drive.files.update": 50,
            "drive.files.delete": 50,
            "drive.comments.create": 50,
            "drive.changes.watch": 50,
        }.items():
            self.assertEqual(cost, TABLE.methods[method_id].cost, method_id)

    def test_is_write(self) -> None:
        """Anything but GET."""
        self.assertFalse(TABLE.methods["drive.files.get"].is_write)
        for verb in ("create", "update", "delete", "copy", "download"):
            self.assertTrue(TABLE.methods[f"drive.files.{verb}"].is_write)

    def test_media(self) -> None:
        """Which methods have bytes."""
        self.assertEqual(
            {"drive.files.get", "drive.files.export", "drive.revisions.get"},
            {method.id for method in TABLE.methods.values() if method.media_download},
        )
        self.assertEqual(
            {"drive.files.create", "drive.files.update"},
            {method.id for method in TABLE.methods.values() if method.media_upload},
        )
