"""The benchmark of sockets on a small scale: whoever is measured, every tab gets every event once."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.sockets.generator import GeneratorFailed
from benchmarks.sockets.peers import PEERS
from benchmarks.sockets.subjects import OurSubject
from benchmarks.sockets.turns import together

TABS = 20


@pytest.mark.parametrize("flight", [1, 8])
def test_every_tab_gets_every_event_of_the_daemon_and_of_the_floor(tmp_path: Path, flight: int) -> None:
    with together(tmp_path, [PEERS["floor-py"]], users=2) as subjects:
        assert [each.name for each in subjects] == ["docsession", "floor-py"]
        for subject in subjects:
            subject.prepare_fanout(TABS)
            used, answer = subject.fanout(TABS, flight=flight, seconds=0.05)
            assert answer["tabs"] == TABS
            assert answer["sent"] >= flight
            assert answer["delivered"] == TABS * answer["sent"]
            assert not answer["lost"] and not answer["twice"] and not answer["strange"]
            assert used > 0


def test_requests_and_handshakes_are_those_of_signed_in_tabs(tmp_path: Path) -> None:
    with together(tmp_path, [PEERS["floor-py"]], users=60) as subjects:
        for subject in subjects:
            subject.prepare_requests()
            _, answer = subject.requests(50, flight=2, seconds=0.05)
            assert answer["done"] >= 100 and not answer["wrong"] and not answer["lost"]
            subject.prepare_handshakes()
            _, answer = subject.handshakes(seconds=0.05)
            assert answer["opened"] >= 1 and not answer["failed"]


def test_an_event_that_a_tab_does_not_get_is_missed(tmp_path: Path) -> None:
    with together(tmp_path, [], users=2) as (subject,):
        assert isinstance(subject, OurSubject)
        subject.prepare_fanout(TABS)
        # A document that nobody watches changes.
        lost = f"change {'document-0024'} #########".encode()
        subject.generator.trigger_by_line(f"fan{TABS}", subject.ours.control, [lost])
        answer = subject.generator.fanout(f"fan{TABS}", seconds=0, flight=1, within=0.5)
        assert answer["lost"] == TABS
        with pytest.raises(GeneratorFailed):
            subject.checked(answer)
