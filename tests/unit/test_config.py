"""The configuration: every default, every refusal in one line that names key and trouble."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from docsession.config import Config, GoogleEndpoints, Secrets
from docsession.config_file import check_startable, load, parse, sandboxed
from docsession.errors import ConfigError
from docsession.origins import is_loopback, origin_of

SANDBOX = "http://127.0.0.1:8766"
DAY = 86_400
KIB, MIB = 1024, 1024 * 1024


class ConfigTestCase(SynchronousTestCase):
    def refused(self, toml: str) -> str:
        """The one line a wrong configuration is refused with."""
        error = self.assertRaises(ConfigError, parse, toml)
        self.assertNotIn("\n", str(error))
        return str(error)


class Defaults(ConfigTestCase):
    def test_as_designed(self) -> None:
        """DESIGN.md, section 11, row by row."""
        config = parse("")
        self.assertEqual(config, Config())
        for value, expected in (
            (config.server.listen, "tcp:8765:interface=127.0.0.1"),
            (config.server.public_url, "http://127.0.0.1:8765"),
            (config.server.origins, {"http://127.0.0.1:8765"}),
            (config.server.admin_listen, "tcp:8767:interface=127.0.0.1"),
            (config.server.state_directory, "docsession-state"),
            (config.server.demo, False),
            (config.google.scopes, ()),
            (config.polling.visible, 5),
            (config.polling.jitter, 0.2),
            (config.polling.hidden, 60),
            (config.polling.feed, 60),
            (config.polling.comments, 15 * 60),
            (config.polling.proof, 10 * 60),
            (config.polling.cache, 120),
            (config.google.in_flight, 32),
            (config.google.in_flight_per_user, 6),
            (config.google.media_in_flight, 16),
            (config.google.media_in_flight_per_user, 2),
            (config.sessions.linger, 300),
            (config.limits.ping_every, 25),
            (config.limits.pong_within, 10),
            (config.limits.heartbeat, 40),
            (config.limits.open_within, 10),
            (config.limits.calls_in_flight, 32),
            (config.limits.message_bytes, 64 * KIB),
            (config.limits.batch, 32),
            (config.limits.watches_per_connection, 200),
            (config.limits.calls_per_second, 50),
            (config.limits.calls_burst, 200),
            (config.limits.connections_per_session, 32),
            (config.limits.connections_per_user, 128),
            (config.limits.new_cookies_burst, 100),
            (config.limits.new_cookies_per_second, 1),
            (config.limits.unsent_notification_bytes, 256 * KIB),
            (config.limits.unsent_answer_bytes, 8 * MIB),
            (config.limits.answer_bytes, 8 * MIB),
            (config.limits.cached_bytes_per_user, 4 * MIB),
            (config.limits.cached_bytes, 512 * MIB),
            (config.sessions.idle, 30 * DAY),
            (config.sessions.absolute, 180 * DAY),
            (config.sessions.sign_in_within, 600),
            (config.sessions.fresh_cookie, 600),
            (config.sessions.journal, DAY),
            (config.google.answer_within, 30),
            (config.google.media_silence, 60),
            (config.google.keep_grant_after_sign_out, 30 * DAY),
        ):
            self.assertEqual(value, expected)

    def test_dangerous_things_are_off(self) -> None:
        google = parse("").google
        self.assertEqual(
            [
                name
                for name in google.__struct_fields__
                if name.startswith("allow_") and getattr(google, name)
            ],
            [],
        )

    def test_real_google(self) -> None:
        """Only a stand-in changes where Google is."""
        self.assertEqual(parse("").google.endpoints.issuer, "https://accounts.google.com")
        for name in GoogleEndpoints.__struct_fields__:
            self.assertTrue(getattr(GoogleEndpoints(), name).startswith("https://"), name)

    def test_given(self) -> None:
        config = parse('[server]\npublic_url = "https://app.example.org"\n[polling]\nvisible = 7')
        self.assertEqual(config.server.origins, {"https://app.example.org"})
        self.assertEqual(config.server.callback_url, "https://app.example.org/api/oauth/callback")
        self.assertEqual((config.polling.visible, config.polling.hidden), (7, 60))


class Refusals(ConfigTestCase):
    def test_unknown_keys(self) -> None:
        """The line names the key and the nearest right one, or all there are."""
        for toml, key, nearest in (
            ("serve = 1", "serve", "server"),
            ("[server]\npublic_uri = 'x'", "server.public_uri", "server.public_url"),
            ("[server]\nkey_file = 'x'", "server.key_file", "server.keys_file"),
            ("[google]\nclient = 'x'", "google.client", "google.client_id"),
            ("[google]\nscope = []", "google.scope", "google.scopes"),
            ("[google.endpoints]\napis = 'x'", "google.endpoints.apis", "google.endpoints.api"),
            ("[sessions]\nidel = 1", "sessions.idel", "sessions.idle"),
            ("[limits]\nbatches = 1", "limits.batches", "limits.batch"),
            ("[polling]\nvisibel = 1", "polling.visibel", "polling.visible"),
        ):
            self.assertEqual(self.refused(toml), f"{key}: there is no such setting; did you mean {nearest}?")
        self.assertEqual(
            self.refused("[polling]\nzzz = 1"),
            "polling.zzz: there is no such setting; known here: "
            + ", ".join(parse("").polling.__struct_fields__),
        )

    def test_secrets_do_not_belong_there(self) -> None:
        self.assertIn("google.client_secret_file", self.refused('[google]\nclient_secret = "x"'))

    def test_wrong_values(self) -> None:
        """The line begins with the key."""
        for toml, key in (
            ("server = 5", "server"),
            ("[server]\nlisten = 5", "server.listen"),
            ("[server]\ndemo = 1", "server.demo"),
            ("[server]\nallowed_origins = 'https://x.org'", "server.allowed_origins"),
            ("[server]\nallowed_origins = [5]", "server.allowed_origins[0]"),
            ("[google]\nin_flight = 0", "google.in_flight"),
            ("[google]\nin_flight = 1.5", "google.in_flight"),
            ("[google]\nin_flight = '5'", "google.in_flight"),
            ("[google]\nanswer_within = 0", "google.answer_within"),
            ("[google]\nanswer_within = -1", "google.answer_within"),
            ("[google.endpoints]\napi = 1", "google.endpoints.api"),
            ("[limits]\nbatch = true", "limits.batch"),
            ("[limits]\nbatch = 100000000000000000000000", "limits.batch"),
            ("[sessions]\nidle = inf", "sessions.idle"),
            ("[sessions]\nlinger = nan", "sessions.linger"),
            ("[sessions]\nlinger = inf", "sessions.linger"),
            ("[polling]\njitter = 1", "polling.jitter"),
            ("[polling]\njitter = nan", "polling.jitter"),
            ("[sessions]\nidle = 1e9", "sessions.idle"),
            ("[limits]\nheartbeat = 25", "limits.heartbeat"),
            ("[server]\ntrusted_proxies = ['10.0.0.0/8', 'proxy']", "server.trusted_proxies[1]"),
            ("[google.endpoints]\ntoken = 'http://oauth2.example.org/token'", "google.endpoints.token"),
            ("[google.endpoints]\ntoken = 'https://[::1'", "google.endpoints.token"),
        ):
            self.assertTrue(self.refused(toml).startswith(f"{key}: "), (toml, self.refused(toml)))

    def test_backend(self) -> None:
        """What is wrong with where the Redis is."""
        for text, words in (
            ('url = "http://h"', "backend.url: must begin with"),
            ('password_file = "x"', "backend.url: missing"),
            ('certificate_authorities = "x"', "backend.url: missing"),
            (
                'url = "redis://h"\ncertificate_authorities = "x"',
                "backend.certificate_authorities: is for rediss",
            ),
            (
                'url = "redis://:p@h"\npassword_file = "x"',
                "backend.password_file: there is one in backend.url too",
            ),
            ('prefix = ""', "backend.prefix: up to 100 letters"),
            ('prefix = "a*"', "backend.prefix: up to 100 letters"),
            ('prefix = "a b"', "backend.prefix: up to 100 letters"),
            ("lease = 2", "backend.lease: "),
            ("answer_within = 0", "backend.answer_within: "),
            ("answer_within = 5.5", "backend.answer_within: more than half of backend.lease"),
        ):
            self.assertIn(words, self.refused(f"[backend]\n{text}"))

    def test_not_toml(self) -> None:
        for text in ("=", "[server", "server = ", "a = 1\na = 2"):
            self.assertTrue(self.refused(text).startswith("not TOML: "))

    @given(
        st.recursive(
            st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: st.dictionaries(
                st.sampled_from(["server", "google", "limits", "endpoints", "listen", "batch", "api", "x"]),
                inner,
                max_size=3,
            ),
            max_leaves=6,
        )
    )
    def test_any_table(self, value: Any) -> None:
        """Whatever stands there is a configuration or one line."""
        if not isinstance(value, dict):
            return

        def written(value: Any) -> str:
            if isinstance(value, dict):
                return "{" + ", ".join(f"{key} = {written(inner)}" for key, inner in value.items()) + "}"
            if isinstance(value, str):
                return '"' + "".join(f"\\U{ord(character):08x}" for character in value) + '"'
            return str(value).lower()

        try:
            parse("\n".join(f"{key} = {written(inner)}" for key, inner in value.items()))
        except ConfigError as error:
            self.assertNotIn("\n", str(error))


class Origins(ConfigTestCase):
    def test_exact(self) -> None:
        """What a browser would write, to the letter; the line says what that is."""
        for url, meant in (
            ("http://127.0.0.1:8765/", "http://127.0.0.1:8765"),
            ("HTTP://LOCALHOST:80", "http://localhost"),
            ("https://x.org:443", "https://x.org"),
            ("https://X.org", "https://x.org"),
            ("https://x.org/app", "https://x.org"),
            ("https://x.org?a", "https://x.org"),
            ("https://me@x.org", "https://x.org"),
        ):
            for toml in (f"public_url = '{url}'", f"allowed_origins = ['{url}']"):
                self.assertIn(f"did you mean {meant!r}?", self.refused(f"[server]\n{toml}"))

    def test_no_origin(self) -> None:
        for url in (
            "",
            "*",
            "null",
            "x.org",
            "//x.org",
            "ftp://x.org",
            "file:///x",
            "https://",
            "https://*",
            "https://*.x.org",
            "https://a b.org",
            "https://bücher.example",
            "https://x.org.",
            "https://x..org",
            "https://x.org:99999",
            "https://[::1",
        ):
            for toml in (f"public_url = '{url}'", f"allowed_origins = ['{url}']"):
                self.refused(f"[server]\n{toml}")

    def test_http_at_home_only(self) -> None:
        self.assertIn("use https", self.refused("[server]\npublic_url = 'http://app.example.org'"))
        for url in (
            "http://localhost:8765",
            "http://127.0.0.2:1",
            "http://[::1]:8765",
            "https://app.example.org",
        ):
            self.assertEqual(parse(f"[server]\npublic_url = '{url}'").server.origins, {url})

    def test_same_site(self) -> None:
        """Browsers send the cookie to no other, so no other is accepted."""

        def allowed(public: str, other: str) -> str:
            return f"[server]\npublic_url = '{public}'\nallowed_origins = ['{other}']"

        for public, other in (
            ("https://app.example.org", "https://www.example.org"),
            ("https://app.example.org", "https://example.org:8443"),
            ("http://127.0.0.1:8765", "http://127.0.0.1:3000"),
            ("http://localhost:8765", "http://localhost:3000"),
            ("http://[::1]:8765", "http://[::1]:3000"),
        ):
            self.assertEqual(parse(allowed(public, other)).server.origins, {public, other})
        for public, other in (
            ("https://app.example.org", "https://example.com"),
            ("https://app.example.org", "https://evilexample.org"),
            ("https://app.example.org", "http://app.example.org"),
            ("http://127.0.0.1:8765", "http://localhost:8765"),
            ("http://127.0.0.1:8765", "http://127.0.1.1:8765"),
        ):
            self.assertIn("server.allowed_origins[0]: ", self.refused(allowed(public, other)))

    def test_origin_of(self) -> None:
        for url, origin in (
            ("https://X.org:443/a?b#c", "https://x.org"),
            ("http://x.org:443", "http://x.org:443"),
            ("http://[::1]:8765/", "http://[::1]:8765"),
        ):
            self.assertEqual(origin_of(url), origin)

    def test_is_loopback(self) -> None:
        for host in ("localhost", "127.0.0.1", "127.9.9.9", "::1"):
            self.assertTrue(is_loopback(host), host)
        for host in (
            "",
            "localhost.evil.org",
            "127.0.0.1.evil.org",
            "0.0.0.0",
            "10.0.0.1",
            "example.org",
            "::",
        ):
            self.assertFalse(is_loopback(host), host)


class Files(ConfigTestCase):
    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = self.directory / "docsession.toml"

    def load(self, toml: str, **environ: str) -> tuple[Config, Secrets]:
        self.path.write_text(toml, encoding="utf-8")
        return load(self.path, environ)

    def load_refused(self, toml: str, **environ: str) -> str:
        error = self.assertRaises(ConfigError, self.load, toml, **environ)
        self.assertNotIn("\n", str(error))
        self.assertNotIn("s3cret", str(error))
        return str(error)

    def test_none(self) -> None:
        config, given = load(None, {})
        self.assertEqual((config, given.client_secret, given.keys), (Config(), "", None))

    def test_missing(self) -> None:
        error = self.assertRaises(ConfigError, load, self.path, {})
        self.assertIn(f"{self.path}: cannot be read", str(error))

    def test_not_text(self) -> None:
        self.path.write_bytes(b"\xff\xfe")
        self.assertIn("cannot be read", str(self.assertRaises(ConfigError, load, self.path, {})))

    def test_names_the_file(self) -> None:
        self.assertTrue(self.load_refused("x = 1").startswith(f"{self.path}: x: "))

    def test_secrets_from_files(self) -> None:
        """Relative to the configuration's own directory; blanks around them are nobody's secret."""
        (self.directory / "secret").write_text(" s3cret\n")
        (self.directory / "keys").write_text("k1\n  k2\n")
        _, given = self.load("[server]\nkeys_file = 'keys'\n[google]\nclient_secret_file = 'secret'")
        self.assertEqual((given.client_secret, given.keys), ("s3cret", ("k1", "k2")))
        self.assertNotIn("s3cret", repr(given))

    def test_secrets_from_the_environment(self) -> None:
        _, given = self.load("", DOCSESSION_CLIENT_SECRET="s3cret\n", DOCSESSION_KEYS="k1 k2")
        self.assertEqual((given.client_secret, given.keys), ("s3cret", ("k1", "k2")))

    def test_both(self) -> None:
        """Which one would hold? Neither."""
        (self.directory / "f").write_text("s3cret")
        for toml, variable, key in (
            ("[google]\nclient_secret_file = 'f'", "DOCSESSION_CLIENT_SECRET", "google.client_secret_file"),
            ("[server]\nkeys_file = 'f'", "DOCSESSION_KEYS", "server.keys_file"),
        ):
            line = self.load_refused(toml, **{variable: "s3cret"})
            self.assertEqual(line, f"{key}: also in the environment as {variable}; use one of them")

    def test_unreadable_secrets(self) -> None:
        """A missing, binary or empty file is an error, and no reason to make up another key."""
        (self.directory / "empty").write_text(" \n")
        (self.directory / "binary").write_bytes(b"\xff")
        for name in ("missing", "empty", "binary", "."):
            for toml, key in (
                (f"[google]\nclient_secret_file = '{name}'", "google.client_secret_file"),
                (f"[server]\nkeys_file = '{name}'", "server.keys_file"),
            ):
                self.assertTrue(self.load_refused(toml).startswith(f"{key}: "))

    def test_password_of_redis(self) -> None:
        """In a file, in the environment or in the URL, and in one of them only."""
        (self.directory / "redis").write_text("from the file\n")
        variable = {"DOCSESSION_REDIS_PASSWORD": "from outside"}
        for text, environ, expected in (
            ('url = "redis://h"', {}, None),
            ('url = "redis://h"', variable, "from outside"),
            ('url = "redis://h"\npassword_file = "redis"', {}, "from the file"),
            ('url = "redis://:in%20it@h"', {}, "in it"),
            ("", variable, None),
        ):
            _, given = self.load(f"[backend]\n{text}", **environ)
            self.assertEqual(given.redis_password, expected, text)
        for text, environ, words in (
            ('url = "redis://:in-it@h"', variable, "backend.url: has a password"),
            ('url = "redis://h"\npassword_file = "redis"', variable, "backend.password_file: also in the"),
            ('url = "redis://h"\npassword_file = "none"', {}, "backend.password_file: "),
        ):
            message = self.load_refused(f"[backend]\n{text}", **environ)
            self.assertIn(words, message)
            self.assertNotIn("in-it", message)
            self.assertNotIn("from outside", message)

    def test_authorities_of_redis(self) -> None:
        """A relative path is taken from the file's directory."""
        text = '[backend]\nurl = "rediss://h"\ncertificate_authorities = "ca.pem"'
        config, _ = self.load(text)
        self.assertEqual(config.backend.certificate_authorities, str(self.directory.resolve() / "ca.pem"))

    def test_several_nodes_need_given_keys(self) -> None:
        good = Secrets(client_secret="s", keys=("k" * 32,))
        config = parse('[google]\nclient_id = "x"\nscopes = ["y"]\n[backend]\nurl = "redis://h"')
        check_startable(config, good)
        error = self.assertRaises(ConfigError, check_startable, config, Secrets("s", None))
        self.assertIn("server.keys_file: missing; with backend.url", str(error))

    def test_startable(self) -> None:
        """A daemon for the real Google needs three things, named one by one."""
        toml, given = "[google]\n", Secrets(client_secret="", keys=None)
        for missing, adds in (
            ("google.client_id", "client_id = 'x'\n"),
            ("google.scopes", "scopes = ['https://www.googleapis.com/auth/drive.file']\n"),
            ("google.client_secret_file", ""),
        ):
            error = self.assertRaises(ConfigError, check_startable, parse(toml), given)
            self.assertTrue(str(error).startswith(f"{missing}: missing"))
            toml += adds
        check_startable(parse(toml), Secrets(client_secret="x", keys=None))

    def test_push(self) -> None:
        """Google posts to https; a stand-in on this machine to http on this machine."""
        self.assertIsNone(parse("").push.url)
        given = Secrets(client_secret="x", keys=None)
        google = "[google]\nclient_id = 'x'\nscopes = ['s']\n"
        check_startable(parse(google + "[push]\nurl = 'https://docs.example.org'"), given)
        for url in ("http://docs.example.org", "http://127.0.0.1:8765"):
            config = parse(google + f"[push]\nurl = '{url}'")
            error = self.assertRaises(ConfigError, check_startable, config, given)
            self.assertEqual(str(error), "push.url: must be https, for Google posts to nothing else")
        check_startable(sandboxed(parse("[push]\nurl = 'http://127.0.0.1:8765'"), SANDBOX), given)
        config = sandboxed(parse("[push]\nurl = 'http://docs.example.org'"), SANDBOX)
        self.assertRaises(ConfigError, check_startable, config, given)

    def test_push_as_it_can_be(self) -> None:
        for line in (
            "url = 'https://docs.example.org/'",
            "url = 'docs.example.org'",
            "url = 'https://docs.example.org/x'",
            "life = 604_801",
            "life = 599",
            "renew_at = 0.91",
            "renew_at = 0.0",
            "openings_per_second = 0",
        ):
            error = self.assertRaises(ConfigError, parse, f"[push]\n{line}")
            self.assertTrue(str(error).startswith(f"push.{line.partition(' ')[0]}: "), error)


class Sandboxed(ConfigTestCase):
    def test_plain(self) -> None:
        """Everything is at the sandbox, the demo page is on, Drive is asked for."""
        config = sandboxed(parse("[polling]\nvisible = 3"), SANDBOX)
        self.assertTrue(config.server.demo)
        self.assertEqual(config.google.scopes, ("https://www.googleapis.com/auth/drive",))
        self.assertEqual(config.polling.visible, 3)
        for name in GoogleEndpoints.__struct_fields__:
            self.assertTrue(getattr(config.google.endpoints, name).startswith(SANDBOX), name)
        check_startable(config, Secrets(client_secret="sandbox", keys=None))

    def test_own_scopes(self) -> None:
        config = sandboxed(parse("[google]\nscopes = ['s']"), SANDBOX)
        self.assertEqual(config.google.scopes, ("s",))

    def test_refused(self) -> None:
        """It stays at home, and never gets a real project's name."""
        for toml, url in (
            ("[server]\npublic_url = 'https://app.example.org'", SANDBOX),
            ("[google]\nclient_id = '123.apps.googleusercontent.com'", SANDBOX),
            ("", "https://127.0.0.1:8766"),
            ("", "ftp://127.0.0.1"),
            ("", "http://127.0.0.1:8766/x"),
            ("", "http://127.0.0.1:99999"),
        ):
            error = self.assertRaises(ConfigError, sandboxed, parse(toml), url)
            self.assertTrue(str(error).startswith("--sandbox"))
            self.assertNotIn("\n", str(error))
