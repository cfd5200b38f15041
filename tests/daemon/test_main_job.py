"""The main job on real input, shorter than the benchmark: nothing lost, nothing done twice."""

from __future__ import annotations

from benchmarks import main_job


def test_nothing_is_lost_and_nothing_done_twice() -> None:
    figures = main_job.run(seconds=12)
    assert figures["changes lost"] == 0, figures
    assert figures["writes done twice"] == 0, figures
    assert figures["changes at Google"] > 0, figures
    assert figures["writes sent again"] > 0, figures
