# SPDX-License-Identifier: Apache-2.0
"""Recovery times come from what workers and callers saw; verdicts from what was found."""

from __future__ import annotations

import attrs
from accelerate_chaos.checker import Finding, Rule
from accelerate_chaos.records import recoveries

from . import values


def test_recovery_runs_from_the_fault_to_the_acceptance_without_the_others_own_run() -> None:
    runs = [values.run(0, "a", 0, 105, is_ok=False), values.run(0, "b", 130, 160)]
    times, lost = recoveries(values.struck("a", 100), runs, [values.request(0, 0, 161)])
    assert (times, lost) == ((31.0,), 0)  # 161 - 100, less 30 of running


def test_what_ran_elsewhere_before_or_to_its_end_was_not_hurt() -> None:
    runs = [
        values.run(0, "b", 0, 105, is_ok=False),
        values.run(1, "a", 0, 90, is_ok=False),
        values.run(2, "a", 90, 130, is_ok=True),
    ]
    requests = [values.request(number, 0, 200) for number in range(3)]
    assert recoveries(values.struck("a", 100), runs, requests) == ((), 0)


def test_a_hedge_that_ran_already_leaves_only_what_came_after_the_fault() -> None:
    runs = [values.run(0, "a", 0, 105, is_ok=False), values.run(0, "b", 50, 140)]
    times, _ = recoveries(values.struck("a", 100), runs, [values.request(0, 0, 142)])
    assert times == (2.0,)


def test_a_page_that_ran_again_on_another_device_was_hurt_for_the_rest() -> None:
    runs = [attrs.evolve(values.run(0, "a", 60, 500), again_ns=150 * values.MS)]
    times, lost = recoveries(values.struck("a", 100), runs, [values.request(0, 50, 501)])
    assert (times, lost) == ((251.0,), 0)  # 501 - 100, less 150 of running


def test_a_request_that_ended_in_an_error_did_not_recover() -> None:
    runs = [values.run(0, "a", 0, 105, is_ok=False)]
    requests = [values.request(0, 0, 5000, "JobTimeout")]
    assert recoveries(values.struck("a", 100), runs, requests) == ((), 1)


def test_what_began_while_a_fault_lasted_is_hurt_from_then_on() -> None:
    runs = [values.run(0, "a", 150, 400, is_ok=False), values.run(0, "b", 200, 230)]
    requests = [values.request(0, 140, 231)]
    assert recoveries(values.struck("a", 100, until_ms=300), runs, requests) == ((51.0,), 0)
    assert recoveries(values.struck("a", 100), runs, requests) == ((), 0)


def test_verdicts() -> None:
    assert values.row().verdict == "held"
    assert values.row(errors=2).verdict == "held, with errors"
    assert values.row(errors=2).success_rate == 0.8
    assert values.row(findings=(Finding(Rule.LOST, "r1"),)).verdict == "broken"
    missed = attrs.evolve(values.row().struck[0], seen=None, reason="too late")
    assert attrs.evolve(values.row(), struck=(missed,)).verdict == "no fault happened"
    assert values.row(reason="no GPU").verdict == "does not apply"
    assert values.row(reason="no GPU").success_rate is None
