# SPDX-License-Identifier: Apache-2.0
"""Find by simulation how much evidence is enough, and write `limits.json`.

`python -m accelerate_insights.detecting.calibrating`; four minutes of processor time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from .likelihood import Floats
from .limits import PATH
from .scanning import SCREENS, candidates, weigh
from .synthetic import TUNING_SEED, batch

#: Share of series without a change in which each window may find one. Most of it is for the window
#: that finds a shift within eight runs; a shorter one finds large shifts sooner, a longer one
#: smaller ones later.
BUDGETS: Mapping[int, float] = {5: 0.0006, 8: 0.0066, 16: 0.0006}
_SERIES = 40_000  # of each kind of noise
_AT_ONCE = 2_000
_STEP = float(np.log1p(0.05))
#: Of the tail of scores, where its logarithm is about linear in the score squared.
_TAIL = (0.02, 0.01, 0.005, 0.002, 0.001, 0.0005)


def calibrate(number: int = _SERIES) -> dict[str, object]:
    """Return the limits; `number` series of each kind of noise."""
    best = np.concatenate(
        [
            _best(np.log(batch((TUNING_SEED, 1, int(df), begin), _AT_ONCE, df=df).values))
            for df in (3.0, 4.0)
            for begin in range(0, number, _AT_ONCE)
        ]
    )
    windows = {}
    for column, last in enumerate(SCREENS):
        tail = np.quantile(best[:, column], 1 - np.array(_TAIL))
        slope, intercept = np.polyfit(tail**2, np.log(_TAIL), 1)
        windows[str(last)] = {
            "score": round(float(np.quantile(best[:, column], 1 - BUDGETS[last])), 3),
            "budget": BUDGETS[last],
            "intercept": round(float(intercept), 4),
            "slope": round(float(slope), 4),
        }
    return {"series": len(best), "min_effect": 0.05, "windows": windows}


def _best(logs: Floats) -> Floats:
    """Return the greatest score of each row in each window."""
    looks = candidates(logs, _STEP)
    scores = weigh(logs, looks, _STEP)
    best = np.zeros((len(logs), len(SCREENS)))
    columns = {last: column for column, last in enumerate(SCREENS)}
    for (row, _, last), score in zip(looks.tolist(), scores.tolist(), strict=True):
        best[row, columns[last]] = max(best[row, columns[last]], score)
    return best


if __name__ == "__main__":
    PATH.write_text(json.dumps(calibrate(), indent=2) + "\n")
