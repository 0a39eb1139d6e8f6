# SPDX-License-Identifier: Apache-2.0
"""The set that judges the detector is the one whose hash was committed before tuning."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from accelerate_insights.detecting import synthetic, synthetic_lab

COMMITTED = json.loads(Path(__file__).with_name("held_out.json").read_text())


def test_the_held_out_set_is_the_committed_one() -> None:
    assert synthetic.digest(synthetic.held_out()) == COMMITTED["series"]
    assert synthetic_lab.digest(synthetic_lab.held_out()) == COMMITTED["labs"]


def test_noise_is_as_described() -> None:
    values = synthetic.noise(np.random.default_rng(1), 4000, 120, df=4)
    assert abs(values.var() - 1) < 0.05
    assert abs((values[:, 1:] * values[:, :-1]).mean() - 0.5) < 0.05


def test_a_shift_is_where_the_batch_says() -> None:
    batch = synthetic.batch(1, 200, df=3, shift=0.5, variation=0.001)
    jumps = np.abs(np.diff(np.log(batch.values), axis=1))
    assert (jumps.argmax(1) + 1 == batch.at).all()
    ratio = batch.values[:, -1] / batch.values[:, 0]
    assert {round(float(one), 1) for one in ratio} == {0.5, 1.5}
