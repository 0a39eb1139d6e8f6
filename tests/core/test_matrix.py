# SPDX-License-Identifier: Apache-2.0
"""From benchmarks and discoveries to cells."""

from __future__ import annotations

import pytest

from accelerate_core import config
from accelerate_core.errors import BackendUnavailable, ConfigError
from accelerate_core.measuring.matrix import concrete, plan, select
from accelerate_core.types import Availability, Target

FIREFOX = Target("wasm", None, "firefox")
CHROME = Target("wasm", None, "chrome")
SAFARI = Target("wasm", None, "safari")
OFFERS = {
    "cpu": (Availability(target=Target("cpu"), is_available=True),),
    "wasm": (
        Availability(target=FIREFOX, is_available=True, version="153"),
        Availability(target=CHROME, is_available=False, reason="not found", remedy="get chrome"),
        Availability(target=SAFARI, is_available=False, reason="only on macOS"),
    ),
}


def cells(targets: list[str], **more: object):
    data = {
        "models": [{"name": "a", "source": "file:a"}, {"name": "b", "source": "file:b"}],
        "benchmarks": [{"targets": targets, **more}],
    }
    return plan(config.parse(data), OFFERS)


def test_every_combination_once_target_by_target() -> None:
    planned = cells(["cpu", "wasm:firefox", "cpu"], batch_sizes=[1, 8])
    assert [str(one.cell.target) for one in planned] == ["cpu"] * 4 + ["wasm:firefox"] * 4
    assert {(one.cell.model, one.cell.batch_size) for one in planned} == {
        ("a", 1),
        ("a", 8),
        ("b", 1),
        ("b", 8),
    }


def test_a_star_is_what_is_found_and_what_could_be_had() -> None:
    planned = cells(["wasm:*"], models=["a"])
    assert [one.cell.target for one in planned] == [FIREFOX, CHROME]
    found, missing = planned
    assert found.missing is None
    assert missing.missing is not None and "get chrome" in str(missing.missing)


def test_a_required_browser_is_never_left_out() -> None:
    planned = cells(["wasm:*"], models=["a"], required=["wasm:safari"])
    safari = next(one for one in planned if one.cell.target == SAFARI)
    assert safari.is_required and safari.missing is not None
    assert "only on macOS" in str(safari.missing)
    assert not any(one.is_required for one in planned if one.cell.target != SAFARI)


def test_a_backend_without_any_browser_is_one_missing_cell() -> None:
    data = {
        "models": [{"name": "a", "source": "file:a"}],
        "benchmarks": [{"targets": ["webnn:*"]}],
    }
    (only,) = plan(config.parse(data), {"webnn": ()})
    assert only.missing is not None and only.cell.target == Target("webnn")


def test_the_engine_that_was_asked_stays() -> None:
    (only,) = cells(["wasm/plan:firefox"], models=["a"])
    assert str(only.cell.target) == "wasm/plan:firefox"
    # Who offers a browser offers it with every engine.
    assert only.missing is None
    found, _ = cells(["wasm/plan:*"], models=["a"], required=["wasm/plan:firefox"])
    assert found.is_required and found.missing is None
    assert concrete(Target("wasm", "plan"), OFFERS["wasm"]) == Target("wasm", "plan", "firefox")


def test_select_keeps_what_matches_and_refuses_nothing() -> None:
    planned = cells(["cpu", "wasm:firefox"])
    assert all("firefox" in str(one.cell) for one in select(planned, ["firefox"]))
    with pytest.raises(ConfigError) as caught:
        select(planned, ["netscape"])
    assert "wasm:firefox" in caught.value.info.accepted


def test_concrete_takes_the_preferred_browser_else_the_first() -> None:
    both = (
        Availability(target=CHROME, is_available=True),
        Availability(target=FIREFOX, is_available=True),
    )
    assert concrete(Target("wasm"), both) == CHROME
    assert concrete(Target("wasm"), both, prefer="firefox") == FIREFOX
    assert concrete(Target("wasm"), both, prefer="edge") == CHROME
    assert concrete(SAFARI, both) == SAFARI
    with pytest.raises(BackendUnavailable, match="get chrome"):
        concrete(Target("wasm"), OFFERS["wasm"][1:])
