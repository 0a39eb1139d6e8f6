# SPDX-License-Identifier: Apache-2.0
"""The contract of detectors: what is plain they find, what is nonsense they survive."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accelerate_core.host import Host
from accelerate_core.testing.contract import Contract

from ..hookspecs import DETECTORS
from ..hookspecs.detector import Detector
from ..values import METRICS, Label, Point, Series

_RUNS = [[10.0, 10.1, 9.9, 10.05, 9.95][index % 5] for index in range(40)]
_ANY = st.lists(st.one_of(st.floats(), st.sampled_from([1.0, 1.0, 2.0, 0.0, -1.0])), max_size=40)


def series(values: Sequence[float], metric: str = "latency_ms", key: str = "a") -> Series:
    """Return a series with one run a day."""
    begin = datetime(2026, 1, 1)
    points = tuple(
        Point(
            at=begin + timedelta(days=day),
            run_id=f"run-{day}",
            measurement_id=f"{key}-{day}",
            value=value,
        )
        for day, value in enumerate(values)
    )
    label = Label(model="minilm", backend="webgpu", browser="chromium")
    return Series(key=key, machine="m", metric=METRICS[metric], label=label, points=points)


class DetectorContract(Contract):
    """What every detector keeps. Name the installed `plugin`; its settings are the default."""

    plugin: ClassVar[str]

    @pytest.fixture(scope="class")
    @classmethod
    def detector(cls, tmp_path_factory: pytest.TempPathFactory) -> Detector:
        """Return the detector, made as a user's would be."""
        folder: Path = tmp_path_factory.mktemp("detector")
        host = Host(cache_dir=folder / "cache", state_dir=folder / "state")
        host.add_family(DETECTORS)
        made: Detector = host.create("detectors", cls.plugin, {})
        return made

    @pytest.mark.parametrize("factor", [1.5, 0.6])
    def test_a_plain_shift_is_found_where_it_is(self, detector: Detector, factor: float) -> None:
        values = [*_RUNS, *(value * factor for value in _RUNS[:20])]
        (change,) = detector.detect(series(values))
        assert abs(change.index - 40) <= 1
        assert change.relative == pytest.approx(factor - 1, abs=0.03)
        assert change.low <= change.relative <= change.high
        assert 0 < change.confidence <= 1

    def test_up_and_down_are_two_changes(self, detector: Detector) -> None:
        values = [*_RUNS, *(value * 1.5 for value in _RUNS), *_RUNS]
        up, down = detector.detect(series(values))
        assert (up.relative > 0.4, down.relative < -0.25) == (True, True)

    def test_a_quiet_series_has_no_change(self, detector: Detector) -> None:
        assert not detector.detect(series(_RUNS * 3))

    @settings(
        max_examples=40,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(values=_ANY)
    def test_no_values_make_it_raise(self, detector: Detector, values: list[float]) -> None:
        for change in detector.detect(series(values)):
            assert 0 < change.index < len(values)
            assert math.isfinite(change.before) and math.isfinite(change.after)

    def test_many_are_as_one_by_one(self, detector: Detector) -> None:
        several = [
            series([*_RUNS, *(value * factor for value in _RUNS[:length])], key=str(length))
            for factor, length in ((1.4, 12), (1.0, 12), (0.7, 30))
        ]
        several.append(series([]))
        assert [list(found) for found in detector.detect_many(several)] == [
            list(detector.detect(one)) for one in several
        ]
