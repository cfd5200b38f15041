"""The URL of a Redis: every form that is taken, and refusals that never repeat it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from docsession.errors import ConfigError
from docsession.redis_url import RedisUrl, parse_redis_url


class Forms(SynchronousTestCase):
    """What is taken."""

    def test_each(self) -> None:
        here = (("127.0.0.1", 6379),)
        for url, expected in (
            ("redis://127.0.0.1", RedisUrl("redis", here)),
            ("redis://127.0.0.1/", RedisUrl("redis", here)),
            ("redis://127.0.0.1/7", RedisUrl("redis", here, database=7)),
            ("redis://[::1]:7000/0", RedisUrl("redis", (("::1", 7000),))),
            ("rediss://ann@r.example.org/0", RedisUrl("rediss", (("r.example.org", 6379),), user="ann")),
            ("redis://:p@127.0.0.1", RedisUrl("redis", here, password="p")),
            ("redis://a%2Fb:p%40%3A%23@127.0.0.1", RedisUrl("redis", here, user="a/b", password="p@:#")),
            ("unix:///run/redis.sock", RedisUrl("unix", path="/run/redis.sock")),
            ("unix:///run/a%20b?db=3", RedisUrl("unix", path="/run/a b", database=3)),
            ("unix://u:p@/run/r", RedisUrl("unix", path="/run/r", user="u", password="p")),
            (
                "redis+sentinel://u:p@a:1,b/mymaster/2",
                RedisUrl(
                    "redis+sentinel",
                    (("a", 1), ("b", 26379)),
                    master="mymaster",
                    user="u",
                    password="p",
                    database=2,
                ),
            ),
            ("redis+sentinel://a/m", RedisUrl("redis+sentinel", (("a", 26379),), master="m")),
        ):
            self.assertEqual((url, parse_redis_url(url)), (url, expected))

    def test_shown_without_the_password(self) -> None:
        for url, shown in (
            ("redis://u:secret@h/3", "redis://h:6379/3"),
            ("rediss://u:secret@[::1]:1", "rediss://[::1]:1/0"),
            ("unix://u:secret@/run/r?db=1", "unix:///run/r?db=1"),
            ("redis+sentinel://u:secret@a,b:2/m/1", "redis+sentinel://a:26379,b:2/m/1"),
        ):
            address = parse_redis_url(url)
            self.assertEqual((str(address), repr(address)), (shown, f"<RedisUrl {shown}>"))


class Refusals(SynchronousTestCase):
    """What is not."""

    def test_each(self) -> None:
        for url, words in (
            ("", "must begin with redis://"),
            ("http://secret", "must begin with redis://"),
            ("redis:/secret", "no host"),
            ("redis://", "no host"),
            ("redis://[secret", "is not a URL"),
            ("redis://secret:0", "no host"),
            ("redis://secret:65536", "no host"),
            ("redis://secret:x", "no host"),
            ("redis://sec ret", "no host"),
            ("redis://u:secret/w@h/0", "write %2F"),
            ("redis://u:secret#w@h/0", "write %23"),
            ("redis://u:secret?w@h/0", "write %3F"),
            ("redis://h/secret", "not the number"),
            ("redis://h/-1", "not the number"),
            ("redis://h/\u0663", "not the number"),
            ("redis://h/123456", "not the number"),
            ("redis://h/0/secret", "nothing else"),
            ("redis://secret,b/0", "several hosts"),
            ("redis+sentinel://secret,b", "name of the master is missing"),
            ("redis+sentinel://secret,/m", "no host"),
            ("redis+sentinel://secret/m/0/1", "nothing else"),
            ("unix://secret/r", "absolute"),
            ("unix://", "absolute"),
            ("unix:///secret?x=1", "?db="),
            ("unix:///secret?db=x", "not the number"),
        ):
            message = str(self.assertRaises(ConfigError, parse_redis_url, url))
            self.assertIn(words, message, url)
            self.assertNotIn("secret", message)
            self.assertTrue(message.startswith("backend.url: "), message)
            self.assertNotIn("\n", message)
