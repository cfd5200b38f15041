"""What the benchmark of sockets makes of its turns: ratios, goals, tables and plots."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.sockets.figures import FLOOR, Turn, Turns, rounded, spread
from benchmarks.sockets.generator import GeneratorFailed, parse, records
from benchmarks.sockets.goals import EIGHT, ONE, OURS, Goal, goals
from benchmarks.sockets.plots import bars, plots
from benchmarks.sockets.report import of_goals, rst, tables, text, update


def turn(measure: str, server: str, number: int, us: float, p50: float = 1.0) -> Turn:
    return Turn(measure, server, number, us, 1e6 / us, {"p50": p50, "p99": 2 * p50, "worst": 3 * p50})


def goal(found: list[Goal], begin: str, to_reach: str = "") -> Goal:
    return next(each for each in found if each.what.startswith(begin) and to_reach in each.to_reach)


class AnswersTests(SynchronousTestCase):
    def test_an_answer_is_numbers_and_words_by_name(self) -> None:
        self.assertEqual(
            parse("open open=20 seconds=0.5 error=Connection_refused\n"),
            {"open": 20.0, "seconds": 0.5, "error": "Connection_refused"},
        )

    def test_a_value_may_hold_an_equals_sign(self) -> None:
        self.assertEqual(parse("state error=a=b"), {"error": "a=b"})

    def test_an_answer_that_it_cannot_go_on_is_raised(self) -> None:
        self.assertEqual(str(self.assertRaises(GeneratorFailed, parse, "failed why=no_memory")), "no_memory")

    def test_records_say_how_long_they_are_whatever_is_in_them(self) -> None:
        self.assertEqual(records([("say", b"a\nb"), ("again", b"")]), b"say 3\na\nb\nagain 0\n\n")


class SpreadTests(SynchronousTestCase):
    def test_of_one_value_all_three_are_that(self) -> None:
        only = spread([4.0])
        self.assertEqual((only.low, only.median, only.high), (4.0, 4.0, 4.0))

    def test_quartiles_are_of_the_values_that_there_are(self) -> None:
        five = spread([5, 1, 4, 2, 3])
        self.assertEqual((five.low, five.median, five.high), (2, 3, 4))

    def test_figures_have_as_many_digits_as_mean_something(self) -> None:
        self.assertEqual(
            [rounded(each) for each in (0.526, 19.94, 20.04, 123.4, 12345.6)],
            ["0.53", "19.94", "20.0", "123", "12,346"],
        )


class RatioTests(SynchronousTestCase):
    def test_ratios_are_of_the_same_round(self) -> None:
        """A machine that is slow for a while is slow for both."""
        turns = Turns(
            [turn("m", FLOOR, number, us) for number, us in enumerate((5, 10, 50))]
            + [turn("m", OURS, number, us) for number, us in enumerate((10, 20, 100))]
        )
        ratio = turns.times_faster("m", OURS)
        assert ratio is not None
        self.assertEqual((ratio.low, ratio.median, ratio.high), (0.5, 0.5, 0.5))

    def test_a_round_that_the_other_missed_counts_for_nothing(self) -> None:
        turns = Turns([turn("m", FLOOR, 0, 5), turn("m", OURS, 0, 5), turn("m", OURS, 1, 500)])
        ratio = turns.times_faster("m", OURS)
        assert ratio is not None
        self.assertEqual(ratio.median, 1.0)

    def test_without_a_round_in_common_there_is_none(self) -> None:
        self.assertIsNone(Turns([turn("m", OURS, 0, 5)]).times_faster("m", OURS))


class GoalTests(SynchronousTestCase):
    def test_what_was_not_measured_is_neither_reached_nor_missed(self) -> None:
        found = goals(Turns([]), {})
        self.assertEqual({each.verdict for each in found}, {"--"})
        self.assertEqual({each.found for each in found}, {"not measured"})

    def test_a_ratio_is_held_against_its_bound(self) -> None:
        for us, verdict in ((8.0, "reached"), (9.0, "MISSED")):
            turns = Turns([turn(ONE, FLOOR, 0, 7.0), turn(ONE, OURS, 0, us)])
            self.assertEqual(goal(goals(turns, {}), ONE, "x floor-py").verdict, verdict)

    def test_eight_in_flight_must_be_many_times_cheaper_than_the_floor(self) -> None:
        for us, verdict in ((1.5, "MISSED"), (1.4, "reached")):
            turns = Turns([turn(EIGHT, FLOOR, 0, 7.0), turn(EIGHT, OURS, 0, us)])
            self.assertEqual(goal(goals(turns, {}), EIGHT, "x floor-py").verdict, verdict)

    def test_the_last_receiver_must_have_it_sooner(self) -> None:
        for p50, verdict in ((9.0, "reached"), (9.5, "MISSED")):
            turns = Turns([turn(ONE, "websockets", 0, 10, p50=10), turn(ONE, OURS, 0, 1, p50=p50)])
            self.assertEqual(goal(goals(turns, {}), "last of 1,000").verdict, verdict)

    def test_growth_is_held_against_the_floors_own(self) -> None:
        few, many = "fan-out 100, 1 in flight", "fan-out 5000, 1 in flight"
        for us, verdict in ((12.0, "reached"), (12.5, "MISSED")):
            turns = Turns(
                [
                    turn(few, FLOOR, 0, 5),
                    turn(many, FLOOR, 0, 10),
                    turn(few, OURS, 0, 5),
                    turn(many, OURS, 0, us),
                ]
            )
            self.assertEqual(goal(goals(turns, {}), "growth").verdict, verdict)

    def test_tabs_that_were_not_pinged_do_not_count_as_idle(self) -> None:
        facts = {
            "tabs": 10_000, "users": 1000, "documents": 500, "tab_kib": 3.9, "tab_bare_kib": 2.0,
            "user_kib": 12.5, "document_kib": 1.0, "idle_cpu": 0.01, "pings": 0.0,
        }  # fmt: skip
        found = goals(Turns([]), {"standing": facts})
        self.assertEqual(goal(found, "memory of an idle").verdict, "reached")
        self.assertEqual(goal(found, "... and of a user").verdict, "MISSED")
        self.assertEqual(goal(found, "idle CPU").verdict, "MISSED")

    def test_a_herd_is_back_when_all_of_it_is(self) -> None:
        facts = {
            "tabs": 10_000, "back": 9_999, "wrong": 0, "all_back_after": 20.0, "listening_after": 3.0,
            "google_calls": 6000.0, "google_calls_ordinary": 5600.0, "probe_p50": 1.0, "probe_p99": 101.0,
            "probes": 1000,
        }  # fmt: skip
        found = goals(Turns([]), {"herd": facts})
        self.assertEqual(goal(found, "10,000 tabs back").verdict, "MISSED")
        self.assertEqual(goal(found, "... Google calls").verdict, "reached")
        self.assertEqual(goal(found, "... p99 of others").verdict, "MISSED")
        found = goals(Turns([]), {"herd": {**facts, "back": 10_000}})
        self.assertEqual(goal(found, "10,000 tabs back").verdict, "reached")

    def test_a_soak_in_which_descriptors_grow_is_not_flat(self) -> None:
        facts = {"minutes": 10.0, "delivered": 1.0, "answered": 1.0, "opened": 1.0}
        for fds, verdict in ((0, "reached"), (40, "MISSED")):
            grown = {"rss": 0, "fds": fds, "delayed": 0}
            found = goals(Turns([]), {"soak": {**facts, "grown": grown}})
            self.assertEqual(goal(found, "a soak").verdict, verdict)

    def test_a_reader_that_missed_nothing_was_never_waited_for(self) -> None:
        """The kernel kept it all: then nothing was measured."""
        facts = {
            "bound": 262_144, "queue_bytes": 10_000, "transport_bytes": 1, "events": 10_000.0,
            "p99_ratio": 1.05, "p99_with": 10.5, "p99_without": 10.0,
        }  # fmt: skip
        for heard, verdict in ((10_000.0, "MISSED"), (4_000.0, "reached")):
            found = goals(Turns([]), {"slow": {**facts, "read_later": heard}})
            self.assertEqual(goal(found, "one stopped reader").verdict, verdict)


class ReportTests(SynchronousTestCase):
    TURNS = [turn(ONE, FLOOR, 0, 7.0), turn(ONE, OURS, 0, 8.0), turn(ONE, "websockets", 0, 12.0)]

    def test_the_cheapest_stands_first(self) -> None:
        ((title, rows),) = tables(Turns(self.TURNS))
        self.assertEqual(title, ONE)
        self.assertEqual([row[0] for row in rows], ["server", FLOOR, OURS, "websockets"])

    def test_a_table_is_wide_enough_for_all_that_is_in_it(self) -> None:
        table = of_goals([Goal("a measure with a long name", ">= 1", "2", True)])
        rule, _head, _rule, row = rst(table).splitlines()[2:6]
        self.assertEqual(len(rule.split("  ")[0]), len("a measure with a long name"))
        self.assertIn("reached", row)
        self.assertIn("a measure with a long name", text(table))

    def test_only_what_is_between_the_marks_is_replaced(self) -> None:
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        document = Path(directory.name) / "document.rst"
        document.write_text("before\n.. sockets figures begin\nold\n.. sockets figures end\nafter\n")
        update(document, ["new"])
        said = document.read_text()
        self.assertEqual(said, "before\n.. sockets figures begin\n\nnew\n.. sockets figures end\nafter\n")
        document.write_text("no marks")
        self.assertRaises(ValueError, update, document, ["new"])


class PlotTests(SynchronousTestCase):
    def test_every_bar_has_its_name_and_its_figure(self) -> None:
        drawing = bars(
            "A <title>", ["A note"], [(OURS, spread([1, 2, 3])), ("a & b", spread([4.0]))], unit="us"
        )
        said = "".join(ElementTree.fromstring(drawing).itertext())
        for word in ("A <title>", "A note", OURS, "2.00 us", "a & b", "4.00 us"):
            self.assertIn(word, said)

    def test_one_that_is_far_off_does_not_make_stubs_of_the_others(self) -> None:
        rows = [(f"server {us}", spread([us])) for us in (5.0, 6.0, 7.0, 400.0)]
        root = ElementTree.fromstring(bars("t", ["n"], rows, unit="us"))
        widths = [float(each.get("width", 0)) for each in root.iter("{http://www.w3.org/2000/svg}rect")][1:]
        self.assertEqual(widths, sorted(widths))
        self.assertGreater(widths[0], 200)

    def test_what_was_not_measured_is_not_drawn(self) -> None:
        self.assertEqual(plots(Turns([]), {}), {})
        self.assertEqual([*plots(Turns(ReportTests.TURNS), {})], ["fanout-1", "last-receiver"])
