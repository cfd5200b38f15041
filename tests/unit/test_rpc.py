"""JSON-RPC text: what is read as a call, what is refused with which code, and what is written."""

from __future__ import annotations

import json
from typing import Annotated, Any
from unittest.mock import patch

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from docsession import rpc
from docsession.errors import InvalidParams, NotFound, RateLimited

CALL = b'{"jsonrpc":"2.0","method":"m","id":%s}'


def _never(payload: bytes) -> None:
    raise msgspec.ValidationError


def _plain(calls: Any) -> Any:
    """To be compared: an error is equal to itself alone."""
    if isinstance(calls, list):
        return [_plain(call) for call in calls]
    if isinstance(calls, rpc.Refused):
        return (calls.id, calls.error.code, calls.error.message, calls.error.data)
    return calls


def only(payload: bytes) -> rpc.Call | rpc.Refused:
    """The one call in a message that is no batch."""
    call = rpc.parse(payload, most=32)
    assert not isinstance(call, list)
    return call


def several(payload: bytes, most: int = 32) -> list[rpc.Call | rpc.Refused]:
    """The calls in a batch."""
    calls = rpc.parse(payload, most=most)
    assert isinstance(calls, list)
    return calls


class Reading(SynchronousTestCase):
    """``parse``."""

    def refused(self, payload: bytes, code: int, call_id: bytes | None = b"null") -> None:
        call = only(payload)
        assert isinstance(call, rpc.Refused), f"{payload[:60]!r} was read as {call!r}"
        self.assertEqual((call.error.code, call.id), (code, call_id), payload[:60])

    def test_call(self) -> None:
        """Method, params as they came, id as it came."""
        call = only(b' \t\r\n{"jsonrpc":"2.0", "method":"a.b", "params" : {"x": [1 ]} , "id" : 7 }\n')
        self.assertEqual(call, rpc.Call("a.b", b'{"x": [1 ]}', b"7"))

    def test_notification(self) -> None:
        """Without an id it is one; params may be left out."""
        self.assertEqual(only(b'{"jsonrpc":"2.0","method":"m"}'), rpc.Call("m", b"{}", None))

    def test_not_json(self) -> None:
        """What is not JSON is -32700 with id null, however it is broken."""
        deep = 100_000
        for payload in (
            b"",
            b" ",
            b"hello",
            b"nul",
            b'"abc',
            b"1 2",
            b"nullx",
            b'"abc" x',
            b"\xef\xbb\xbf" + CALL % b"1",
            b"\xff" + CALL % b"1",
            CALL % b'"\xff"',
            CALL % b'"\xed\xa0\x80"',
            CALL % b'"\\ud800"',
            CALL % b'"\\udc00\\ud800"',
            CALL % b'"a\x01b"',
            CALL % b'"a\\qb"',
            CALL % b"NaN",
            CALL % b"-Infinity",
            CALL % b"01",
            CALL % b"1.",
            CALL % b"-",
            CALL % b"1e",
            CALL % b"1,",
            CALL % b"1" + b" x",
            CALL % b"1" + CALL % b"2",
            b"{'jsonrpc':'2.0'}",
            b'{"jsonrpc":"2.0","method":"m","id":1,"params":{"a":NaN}}',
            b'{"jsonrpc":"2.0","method":"m","id":1,"params":{"a":1} x}',
            b'{"jsonrpc":"2.0","method":"m","id":1,"params":{"a":"\xff"}}',
            b'{"jsonrpc":"2.0","method":"\\ud800","id":1}',
            b"[" * deep,
            b"[" * deep + b"]" * deep,
            b'{"a":' * deep,
            b'{"jsonrpc":"2.0","method":"m","id":1,"params":{"a":' + b"[" * deep + b"]" * deep + b"}}",
            b'["\\ud800',
            b"[1",
            b"[1] x",
        ):
            self.refused(payload, -32700)

    def test_no_request(self) -> None:
        """JSON that is no request is -32600; its id is echoed where it has a good one."""
        for payload, call_id in (
            (b"1", b"null"),
            (b"null", b"null"),
            (b"true", b"null"),
            (b'"text"', b"null"),
            (b"{}", b"null"),
            (b'{"id":3}', b"3"),
            (b'{"jsonrpc":"1.0","method":"m","id":3}', b"3"),
            (b'{"jsonrpc":2.0,"method":"m","id":3}', b"3"),
            (b'{"method":"m","id":3}', b"3"),
            (b'{"jsonrpc":"2.0","id":3}', b"3"),
            (b'{"jsonrpc":"2.0","method":5,"id":3}', b"3"),
            (b'{"jsonrpc":"2.0","method":null,"id":"x"}', b'"x"'),
            (b'{"jsonrpc":"2.0","method":"m","params":null,"id":3}', b"3"),
            (b'{"jsonrpc":"2.0","method":"m","params":"x","id":3}', b"3"),
            (b'{"jsonrpc":"2.0","method":"m","params":5}', b"null"),
            (b'{"jsonrpc":' + b"1" * 5000 + b',"method":"m","id":3}', b"null"),
            # Answers to nothing: we ask a page nothing.
            (b'{"jsonrpc":"2.0","result":{},"id":3}', b"3"),
            (b'{"jsonrpc":"2.0","error":{"code":1,"message":""},"id":3}', b"3"),
            (b"[]", b"null"),
        ):
            self.refused(payload, -32600, call_id)

    def test_params_list(self) -> None:
        """Params by position are -32602; of a notification nobody hears."""
        self.refused(b'{"jsonrpc":"2.0","method":"m","params":[1],"id":3}', -32602, b"3")
        self.refused(b'{"jsonrpc":"2.0","method":"m","params":[],"id":3}', -32602, b"3")
        self.refused(b'{"jsonrpc":"2.0","method":"m","params":[1]}', -32602, None)

    def test_ids_that_are_none(self) -> None:
        """Null, booleans, arrays, objects and ids that are too long are refused."""
        for call_id in (b"null", b"true", b"false", b"[1]", b"{}", b'["a"]', b'"%s"' % (b"x" * 255)):
            self.refused(CALL % call_id, -32600)
        self.refused(CALL % (b"9" * 257), -32600)

    def test_ids_to_the_letter(self) -> None:
        """An id comes back exactly as it was written."""
        for call_id in (
            b"0",
            b"-0",
            b"1.50",
            b"1e3",
            b"1E+3",
            b"1e999",
            b"9" * 256,
            b'""',
            b'"x"',
            b'"\\u00e9\\/"',
            '"é\U0001f600"'.encode(),
            b'"%s"' % (b"x" * 254),
            b'"\\ud83d\\ude00"',
        ):
            call = only(CALL % call_id)
            assert isinstance(call, rpc.Call), call_id
            self.assertEqual(call.id, call_id)
            answer = rpc.answer(call_id, rpc.result_outcome(b"{}"))
            self.assertIn(b'"id":' + call_id + b",", answer)

    def test_duplicate_keys(self) -> None:
        """The last one counts, as with JSON.parse in a browser, for all alike."""
        self.assertEqual(
            only(b'{"jsonrpc":"1","jsonrpc":"2.0","method":"a","method":"b","id":1,"id":2}'),
            rpc.Call("b", b"{}", b"2"),
        )

    def test_unknown_members(self) -> None:
        """Others than JSON-RPC's own are passed over."""
        call = only(b'{"jsonrpc":"2.0","__proto__":{"id":5},"method":"m","meta":[1],"id":1}')
        self.assertEqual(call, rpc.Call("m", b"{}", b"1"))

    @given(st.data())
    def test_the_short_way_says_what_the_long_one_says(self, data: st.DataObject) -> None:
        """Whatever is changed in a good call."""
        payload = b'{"jsonrpc":"2.0","id":"a1","method":"drive.files.get","params":{"fileId":"x\\u00e9"}}'
        for _ in range(data.draw(st.integers(0, 3))):
            at = data.draw(st.integers(0, len(payload)))
            cut = data.draw(st.integers(0, 3))
            put = data.draw(st.sampled_from([*b' "{}[]:,0\\\xff\xc3n-.1e', *(b"id", b'"id":1,', b"null")]))
            put = bytes([put]) if isinstance(put, int) else put
            payload = payload[:at] + put + payload[at + cut :]
        said = rpc.parse(payload, most=32)
        with patch.object(rpc, "_usual", _never):
            expected = rpc.parse(payload, most=32)
        self.assertEqual(_plain(said), _plain(expected), payload)

    @given(st.binary(max_size=200))
    def test_any_bytes(self, payload: bytes) -> None:
        """Nothing that comes raises anything."""
        calls = rpc.parse(payload, most=32)
        for call in calls if isinstance(calls, list) else [calls]:
            self.assertIsInstance(call, (rpc.Call, rpc.Refused))

    @given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=8))
    def test_any_json(self, value: Any) -> None:
        """No JSON value but an object is a call."""
        calls = rpc.parse(json.dumps(value).encode(), most=32)
        for call in calls if isinstance(calls, list) else [calls]:
            self.assertIsInstance(call, rpc.Refused)


class Batches(SynchronousTestCase):
    """``parse`` of several calls at once."""

    def test_one_and_two(self) -> None:
        one = CALL % b"1"
        self.assertEqual(several(b"[" + one + b"]"), [only(one)])
        calls = several(b" \n[" + one + b"," + CALL % b"2" + b" ]", most=2)
        self.assertEqual([call.id for call in calls], [b"1", b"2"])

    def test_too_many(self) -> None:
        """One error for all, and none of them is done."""
        many = b"[" + b",".join(CALL % b"%d" % number for number in range(10_000)) + b"]"
        for payload in (many, b"[1,2,3]"):
            call = rpc.parse(payload, most=2)
            assert isinstance(call, rpc.Refused)
            self.assertEqual((call.id, call.error.code), (b"null", -32600))

    def test_bad_ones_among_good(self) -> None:
        """Each is judged alone, a batch in a batch too."""
        payload = b"[1,[%s],%s,{},null]" % (CALL % b"8", CALL % b"9")
        calls = several(payload)
        self.assertEqual(
            [call.error.code if isinstance(call, rpc.Refused) else call.id for call in calls],
            [-32600, -32600, b"9", -32600, -32600],
        )

    def test_unreadable(self) -> None:
        """Where one call is no JSON, the message is none."""
        for bad in (CALL % b'"\\ud800"', CALL % b"NaN", b"[" * 100_000):
            call = only(b"[%s,%s]" % (CALL % b"9", bad))
            assert isinstance(call, rpc.Refused)
            self.assertEqual((call.id, call.error.code), (b"null", -32700))


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(max_length=3)]


class Outer(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    file_id: str
    inner: Inner | None = None
    many: list[int] = []


class Decoding(SynchronousTestCase):
    """``decode_params``."""

    def path(self, params: bytes, into: type[Any] = Outer) -> str:
        error = self.assertRaises(InvalidParams, rpc.decode_params, params, into)
        self.assertEqual(error.data["name"], "invalid_params")
        return str(error.data["path"])

    def test_good(self) -> None:
        found = rpc.decode_params(b'{"fileId":"x","inner":{"name":"abc"}}', Outer)
        self.assertEqual(found, Outer("x", Inner("abc")))

    def test_failing_path(self) -> None:
        """The error names the place, also of what is missing or unknown, also below."""
        for params, path in (
            (b'{"fileId":5}', "$.fileId"),
            (b'{"fileId":null}', "$.fileId"),
            (b"{}", "$.fileId"),
            (b'{"fileId":"x","foo":1}', "$.foo"),
            (b'{"fileId":"x","file_id":1}', "$.file_id"),
            (b'{"fileId":"x","a`b":1}', "$.a`b"),
            (b'{"fileId":"x","inner":5}', "$.inner"),
            (b'{"fileId":"x","inner":{}}', "$.inner.name"),
            (b'{"fileId":"x","inner":{"name":true}}', "$.inner.name"),
            (b'{"fileId":"x","inner":{"name":"four"}}', "$.inner.name"),
            (b'{"fileId":"x","inner":{"name":"a","x":1}}', "$.inner.x"),
            (b'{"fileId":"x","many":[1,"2"]}', "$.many[1]"),
            (b'{"fileId":"x","many":[1.5]}', "$.many[0]"),
        ):
            self.assertEqual(self.path(params), path, params)

    def test_strict(self) -> None:
        """Text is no number, a number no text."""
        self.assertEqual(self.path(b'{"fileId":"x","many":["1"]}'), "$.many[0]")

    def test_not_json_inside(self) -> None:
        """What only a full decoding finds is a fault of the params."""
        for params in (
            b'{"a":"\\ud800"}',
            b'{"a":NaN}',
            b'{"a":' + b"[" * 100_000,
            b'{"a":1e999}',
            b'{"a":' + b"1" * 5000 + b"}",
            b'{"a":-01}',
        ):
            self.assertTrue(self.path(params, dict[str, Any]).startswith("$"))

    def test_no_traceback_in_message(self) -> None:
        error = self.assertRaises(InvalidParams, rpc.decode_params, b'{"fileId":5}', Outer)
        self.assertEqual(error.message, "Expected `str`, got `int`")
        self.assertIsNone(error.__cause__)


class Writing(SynchronousTestCase):
    """Answers and notifications."""

    def test_result(self) -> None:
        answer = rpc.answer(b'"a"', rpc.result_outcome(rpc.encode({"x": rpc.raw(b'{"y":1.0}')})))
        self.assertEqual(answer, b'{"jsonrpc":"2.0","id":"a","result":{"x":{"y":1.0}}}')

    def test_error(self) -> None:
        answer = json.loads(rpc.answer(b"1", rpc.error_outcome(RateLimited("slow down", retry_after=1.23))))
        self.assertEqual(
            answer,
            {
                "jsonrpc": "2.0",
                "id": 1,
                "error": {
                    "code": 1007,
                    "message": "slow down",
                    "data": {"name": "rate_limited", "retry_after": 1.3},
                },
            },
        )

    def test_result_at_once(self) -> None:
        for call_id, result in ((b'"a"', b'{"x":1}'), (b"1.50", b"[]")):
            self.assertEqual(
                rpc.result_answer(call_id, result), rpc.answer(call_id, rpc.result_outcome(result))
            )

    def test_batch(self) -> None:
        answers = [rpc.answer(b"%d" % n, rpc.error_outcome(NotFound())) for n in range(3)]
        self.assertEqual([answer["id"] for answer in json.loads(rpc.batch(answers))], [0, 1, 2])
        self.assertEqual(json.loads(rpc.batch(answers[:1]))[0]["id"], 0)

    def test_notification(self) -> None:
        self.assertEqual(
            json.loads(rpc.notification("document.lost", {"fileId": "x"})),
            {"jsonrpc": "2.0", "method": "document.lost", "params": {"fileId": "x"}},
        )
