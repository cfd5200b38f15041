"""Keys are made once, kept private, and rotate; what they signed or sealed cannot be changed."""

from __future__ import annotations

import base64
import hmac
import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from docsession.errors import ConfigError
from docsession.keys import ChannelSigner, CookieSigner, Keys, Sealer, Unreadable, fingerprint, load_keys
from docsession.model import Identity

OLD, NEW = "an old secret of enough characters", "a newer secret with enough characters"
IDENTITY = Identity(session_id="AZaz09_-" * 4, issued=1_700_000_000.0)


def configured(*secrets: str) -> Keys:
    return load_keys(Path("/nonexistent"), configured=secrets)


class ConfiguredTests(SynchronousTestCase):
    def test_newest_first(self) -> None:
        keys = configured(NEW, OLD)
        self.assertEqual(keys.signing, configured(NEW).signing + configured(OLD).signing)
        self.assertEqual(keys.sealing, configured(NEW).sealing + configured(OLD).sealing)
        self.assertEqual({len(key) for key in keys.signing + keys.sealing}, {32})

    def test_the_same_everywhere(self) -> None:
        """RFC 5869, done by hand. A release that stretched otherwise would sign everybody out."""

        def stretched(info: bytes) -> bytes:
            key = hmac.digest(bytes(32), OLD.encode(), "sha256")
            return hmac.digest(key, info + b"\x01", "sha256")

        self.assertEqual(configured(OLD).signing, (stretched(b"docsession signing key"),))
        self.assertEqual(configured(OLD).sealing, (stretched(b"docsession sealing key"),))

    def test_too_short(self) -> None:
        self.assertEqual(len(configured("x" * 32).signing), 1)
        with self.assertRaises(ConfigError) as caught:
            configured(NEW, "hunter2" * 4)
        self.assertIn("number 2", str(caught.exception))
        self.assertNotIn("hunter2", str(caught.exception))

    def test_none(self) -> None:
        with self.assertRaises(ConfigError):
            configured()

    def test_shows_nothing(self) -> None:
        keys = configured(OLD)
        self.assertEqual((repr(keys), str(keys), f"{keys}"), ("<Keys>",) * 3)

    def test_fingerprint(self) -> None:
        """It tells apart every list of keys, and gives none away."""
        prints = [fingerprint(configured(*some)) for some in ([OLD], [NEW], [OLD, NEW], [NEW, OLD])]
        self.assertEqual(len(set(prints)), 4)
        self.assertEqual(prints[0], fingerprint(configured(OLD)))
        keys = configured(OLD)
        for key in keys.signing + keys.sealing:
            self.assertNotIn(key.hex()[:8], prints[0])


class FileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="docsession-keys-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.state = self.folder / "state"
        self.file = self.state / "keys"

    def load(self) -> Keys:
        return load_keys(self.state, configured=None)

    def refusal(self) -> str:
        with self.assertRaises(ConfigError) as caught:
            self.load()
        self.assertIn(str(self.file), str(caught.exception))
        self.assertNotIn("\n", str(caught.exception))
        return str(caught.exception)

    def test_made_once(self) -> None:
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        keys = self.load()
        self.assertEqual(self.load(), keys)
        self.assertEqual(self.file.stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.state.stat().st_mode & 0o777, 0o700)
        self.assertEqual(list(self.state.iterdir()), [self.file])

    def test_no_two_alike(self) -> None:
        keys = self.load()
        self.file.unlink()
        self.assertNotEqual(self.load(), keys)

    def test_configured_ones_make_no_file(self) -> None:
        load_keys(self.state, configured=(OLD,))
        self.assertFalse(self.state.exists())

    def test_rotated_by_hand(self) -> None:
        """A secret is put in front; and all of them may move to the configuration as they are."""
        first = self.load()
        text = self.file.read_text()
        self.file.write_text(f"{NEW.replace(' ', '-')}\n{text}")
        both = self.load()
        self.assertEqual(both.signing[1:], first.signing)
        self.assertEqual(both, load_keys(self.state, configured=tuple(self.file.read_text().split())))

    def test_readable_by_others(self) -> None:
        self.load()
        for mode in (0o640, 0o604, 0o620, 0o666):
            self.file.chmod(mode)
            self.assertIn("chmod 600", self.refusal())

    def test_unusable(self) -> None:
        self.load()
        for content in (b"", b"\n", b"short\n", b"\xff" * 64):
            self.file.write_bytes(content)
            self.refusal()
        self.file.unlink()
        self.file.mkdir()
        self.refusal()

    def test_a_crash_while_making_leaves_no_half_file(self) -> None:
        """The name appears with the whole content: whoever looks earlier sees no file at all."""
        seen: list[bool] = []
        really = os.fsync

        def look(handle: int) -> None:
            seen.append(self.file.exists())
            really(handle)
            raise OSError("the power went")

        self.patch(os, "fsync", look)
        self.refusal()
        self.assertEqual(seen, [False])
        self.patch(os, "fsync", really)
        self.assertFalse(self.file.exists())
        self.load()

    def test_two_daemons_starting_at_once(self) -> None:
        """The slower one takes the keys of the quicker."""
        others: list[Keys] = []
        really = os.link

        def overtaken(source: str, target: Path) -> None:
            self.patch(os, "link", really)
            others.append(self.load())
            really(source, target)

        self.patch(os, "link", overtaken)
        self.assertEqual([self.load()], others)
        self.assertEqual(list(self.state.iterdir()), [self.file])

    def test_no_place(self) -> None:
        self.state.write_text("a file where the directory should be")
        self.refusal()


class SealerTests(SynchronousTestCase):
    def test_there_and_back(self) -> None:
        sealer = Sealer(configured(OLD))
        for data in (b"", b"x", bytes(range(256)) * 100):
            blob = sealer.seal(data, about="grant 1")
            self.assertEqual(sealer.unseal(blob, about="grant 1"), data)

    def test_never_the_same_twice(self) -> None:
        sealer = Sealer(configured(OLD))
        self.assertNotEqual(sealer.seal(b"x", about="a"), sealer.seal(b"x", about="a"))

    def test_bound_to_its_place(self) -> None:
        sealer = Sealer(configured(OLD))
        blob = sealer.seal(b"data", about="grant 1")
        for about in ("grant 2", "", "grant 1 "):
            self.assertRaises(Unreadable, sealer.unseal, blob, about=about)
        # Nor can a place run over into the data.
        self.assertRaises(Unreadable, sealer.unseal, sealer.seal(b"1", about="grant "), about="grant 1")

    def test_rotation(self) -> None:
        blob = Sealer(configured(OLD)).seal(b"data", about="a")
        rotated = Sealer(configured(NEW, OLD))
        self.assertEqual(rotated.unseal(blob, about="a"), b"data")
        fresh = rotated.seal(b"data", about="a")
        self.assertEqual(Sealer(configured(NEW)).unseal(fresh, about="a"), b"data")
        self.assertRaises(Unreadable, Sealer(configured(OLD)).unseal, fresh, about="a")
        self.assertRaises(Unreadable, Sealer(configured(NEW)).unseal, blob, about="a")

    @settings(deadline=None)
    @given(st.binary(max_size=300))
    def test_noise(self, blob: bytes) -> None:
        self.assertRaises(Unreadable, Sealer(configured(OLD)).unseal, blob, about="a")

    def test_every_changed_byte_is_noticed(self) -> None:
        sealer = Sealer(configured(OLD))
        blob = sealer.seal(b"data", about="a")
        for at in range(len(blob)):
            changed = blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :]
            try:
                self.assertEqual(sealer.unseal(changed, about="a"), b"data")
            except Unreadable:
                continue
            # base64's last character has spare bits; nothing else may be changed unnoticed.
            self.assertGreaterEqual(at, len(blob.rstrip(b"=")) - 1)


class CookieTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.signer = CookieSigner(configured(OLD))
        self.value = self.signer.sign(IDENTITY)

    def test_there_and_back(self) -> None:
        self.assertEqual(self.signer.verify(self.value), IDENTITY)
        self.assertTrue(self.value.startswith(f"{IDENTITY.session_id}.1700000000."))
        self.assertLessEqual(len(self.value), 100)

    def test_whole_seconds(self) -> None:
        value = self.signer.sign(Identity(IDENTITY.session_id, 1000.9))
        self.assertEqual(self.signer.verify(value), Identity(IDENTITY.session_id, 1000.0))

    def test_the_newest_key_signs_and_all_verify(self) -> None:
        """itsdangerous signs with the last of its keys, we keep the newest first."""
        rotated = CookieSigner(configured(NEW, OLD))
        self.assertEqual(rotated.verify(self.value), IDENTITY)
        fresh = rotated.sign(IDENTITY)
        self.assertEqual(CookieSigner(configured(NEW)).verify(fresh), IDENTITY)
        self.assertIsNone(self.signer.verify(fresh))
        self.assertIsNone(CookieSigner(configured(NEW)).verify(self.value))

    def test_any_change_is_noticed(self) -> None:
        """Also in the last character, where base64 has bits that decode to nothing."""
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
        for at, right in enumerate(self.value):
            for wrong in alphabet.replace(right, ""):
                self.assertIsNone(self.signer.verify(self.value[:at] + wrong + self.value[at + 1 :]))

    def test_cut_or_extended(self) -> None:
        for at in range(len(self.value)):
            self.assertIsNone(self.signer.verify(self.value[:at]))
        for more in (" ", "\n", "=", ".", "A", self.value, "\x00", "é"):
            self.assertIsNone(self.signer.verify(self.value + more))
            self.assertIsNone(self.signer.verify(more + self.value))
        self.assertIsNone(self.signer.verify(f'"{self.value}"'))

    def test_signed_by_us_but_not_a_cookie(self) -> None:
        """Our signature under a text of another form opens nothing."""
        inner = self.signer._signer
        for text in (
            f"{'x' * 21}.1700000000",
            f"{IDENTITY.session_id}.017",
            f"{IDENTITY.session_id}.-1",
            f"{IDENTITY.session_id}.1e9",
            f"{IDENTITY.session_id}.1_000",
            f"{IDENTITY.session_id}.",
            f"{IDENTITY.session_id}",
            f"{'x' * 32}/.1700000000",
            f"{'x' * 129}.1700000000",
        ):
            self.assertIsNone(self.signer.verify(inner.sign(text).decode("ascii")))

    def test_over_long(self) -> None:
        longest = self.signer.sign(Identity("x" * 128, 10.0**12 - 1))
        self.assertIsNotNone(self.signer.verify(longest))
        self.assertLessEqual(len(longest), 256)
        self.assertIsNone(self.signer.verify("A" * 10_000_000))

    @settings(deadline=None)
    @given(st.text(max_size=300) | st.from_regex(CookieSigner._FORM, fullmatch=True))
    def test_noise(self, value: str) -> None:
        self.assertIsNone(self.signer.verify(value))

    def test_signs_no_impossible_id(self) -> None:
        for session_id in ("", "short", "x" * 31 + "."):
            self.assertRaises(ValueError, self.signer.sign, Identity(session_id, 1.0))


class ChannelSignerTests(SynchronousTestCase):
    def test_there_and_back(self) -> None:
        signer = ChannelSigner(configured(OLD))
        token = signer.token("channel-1")
        self.assertRegex(token, r"\A[A-Za-z0-9_-]{43}\Z")
        self.assertTrue(signer.verify("channel-1", token))
        for channel_id, other in (
            ("channel-2", token),
            ("channel-1", token[:-1]),
            ("channel-1", token + "="),
            ("channel-1", token.swapcase()),
            ("channel-1", ""),
            ("", ""),
            ("\ud800", "\ud800"),
            ("channel-1", "ü" * 43),
        ):
            self.assertFalse(signer.verify(channel_id, other), (channel_id, other))

    def test_rotation(self) -> None:
        """What an older key signed is good as long as that key is there."""
        old, both, new = (ChannelSigner(configured(*some)) for some in ([OLD], [NEW, OLD], [NEW]))
        self.assertTrue(both.verify("c", old.token("c")))
        self.assertEqual(both.token("c"), new.token("c"))
        self.assertFalse(new.verify("c", old.token("c")))

    def test_no_cookie(self) -> None:
        """A key of its own: what signs cookies signs no channel."""
        keys = configured(OLD)
        self.assertNotIn(ChannelSigner(keys)._keys[0], keys.signing)
        for key in keys.signing:
            tag = hmac.digest(key, b"c", "sha256")
            self.assertFalse(ChannelSigner(keys).verify("c", base64.urlsafe_b64encode(tag).decode()[:43]))

    def test_the_same_work_whatever_is_wrong(self) -> None:
        """Each key is tried, also after one fitted, and for what nobody ever signed."""
        counted: list[object] = []
        real = hmac.compare_digest
        self.patch(hmac, "compare_digest", lambda *both: counted.append(both) or real(*both))
        signer = ChannelSigner(configured(NEW, OLD))
        for channel_id, token in (("c", signer.token("c")), ("c", "x" * 43), ("unknown", ""), ("", "x")):
            counted.clear()
            signer.verify(channel_id, token)
            self.assertEqual(len(counted), 2)
