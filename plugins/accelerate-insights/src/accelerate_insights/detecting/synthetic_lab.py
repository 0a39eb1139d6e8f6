# SPDX-License-Identifier: Apache-2.0
"""A lab's series over 120 days, in which planted causes change many of them and chance others."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import product

import attrs
import numpy as np

from ..values import METRICS, Finding, Label, Point, Series
from .synthetic import EARLIEST, LATEST, POINTS, noise

_HELD_OUT_SEED = 20261123
_START = datetime(2026, 1, 1)
_MACHINES = ("aaaa1111", "bbbb2222")
_BROWSERS = ("chromium", "firefox")
_MODELS = ("minilm", "vit", "whisper", "clip", "bert")
_KINDS = ("browser_version", "engine_version", "commit", "machine")


@attrs.frozen(kw_only=True, eq=False)
class Lab:
    """Hold series of one lab, and why each of them changes; some do not."""

    series: tuple[Series, ...]
    #: By key and machine: index of the change, and which of the planted causes it has, if one.
    planted: Mapping[tuple[str, str], tuple[int, int | None]]
    kinds: tuple[str, ...]  #: of the planted causes


def lab(seed: int | tuple[int, ...], *, df: float = 3.0) -> Lab:
    """Return 40 series: two causes change 60 to 100% of what they touch, 15% change without one.

    One run a day and machine; a commit lasts one to five days, a version 20 to 40.
    """
    random = np.random.default_rng(seed)
    days = random.permutation(np.arange(EARLIEST, LATEST + 1, 13))
    kinds = tuple(str(kind) for kind in random.choice(_KINDS, size=2, replace=False))
    begins = [int(day) for day in days[:2]]
    attributes = _attributes(random, dict(zip(kinds, begins, strict=True)))
    planted: dict[tuple[str, str], tuple[int, int | None]] = {}
    found = []
    share = random.uniform(0.6, 1.0, size=2)
    size = random.uniform(0.10, 0.25, size=2) * random.choice((-1.0, 1.0), size=2)
    rows = list(product(_MACHINES, _BROWSERS, ("webgpu", "wasm"), _MODELS))
    values = 1 + 0.03 * noise(random, len(rows), POINTS, df=df)
    for row, (machine, browser, backend, model) in enumerate(rows):
        key = f"{model}-{backend}-{browser}"
        cause, at, change = None, POINTS, 0.0
        for index, kind in enumerate(kinds):
            if _touches(kind, machine, browser, backend) and random.uniform() < share[index]:
                cause, at, change = index, begins[index], float(size[index])
                break
        if cause is None and random.uniform() < 0.15:
            at = int(random.integers(EARLIEST, LATEST + 1))
            change = float(random.choice((-0.2, 0.2)))
        if change:
            planted[key, machine] = (at, cause)
            values[row, at:] *= 1 + change
        points = tuple(
            Point(
                at=_START + timedelta(days=day),
                run_id=f"{machine}-{day}",
                measurement_id=f"{machine}-{day}-{key}",
                value=max(float(values[row, day]), 1e-3) * 20,
                commit=attributes["commit"][day],
                browser_version=attributes[f"version {browser}"][day],
                engine_version=attributes[f"engine {backend}"][day],
                system=attributes[f"system {machine}"][day],
            )
            for day in range(POINTS)
        )
        label = Label(model=model, backend=backend, engine=f"ort-{backend}", browser=browser)
        found.append(
            Series(
                key=key, machine=machine, metric=METRICS["latency_ms"], label=label, points=points
            )
        )
    return Lab(series=tuple(found), planted=planted, kinds=kinds)


@attrs.frozen(kw_only=True)
class Grouped:
    """Count alerts of a lab by whether they were grouped as planted."""

    caused: int  #: alerts that have a planted cause
    right: int  #: of them: in that cause's group, which names the right kind
    unrelated: int  #: alerts of changes without a common cause
    drawn_in: int  #: of them: in the group of a planted cause


def judge(lab: Lab, findings: Sequence[Finding]) -> Grouped:
    """Compare groups with what was planted; alerts far from a planted change are not counted."""
    alerts: dict[int | None, list[Finding]] = defaultdict(list)
    for one in findings:
        at, cause = lab.planted.get((one.series.key, one.series.machine), (POINTS * 2, None))
        if abs(one.change.index - at) <= 4:
            alerts[cause].append(one)
    right, groups = 0, set()
    for cause, caused in alerts.items():
        if cause is None:
            continue
        kind = lab.kinds[cause]
        ids = Counter(one.cause_id for one in caused if one.cause_kind == kind)
        for cause_id, count in ids.most_common(1):
            groups.add(cause_id)
            right += count
    unrelated = alerts.pop(None, [])
    return Grouped(
        caused=sum(map(len, alerts.values())),
        right=right,
        unrelated=len(unrelated),
        drawn_in=sum(one.cause_id in groups for one in unrelated),
    )


def held_out() -> list[Lab]:
    """Return the labs that judge the grouping once, at the end; nothing is tuned on them."""
    return [lab((_HELD_OUT_SEED, number), df=3 + number % 2) for number in range(25)]


def digest(labs: list[Lab]) -> str:
    """Return the SHA-256 of labs; values to six decimals."""
    total = hashlib.sha256()
    for one in labs:
        for series in one.series:
            total.update(repr((series.key, series.machine)).encode())
            for point in series.points:
                numbers = (point.run_id, point.commit, point.browser_version, point.engine_version)
                total.update(f"{numbers} {point.system} {point.value:.6f}\n".encode())
        total.update(repr((sorted(one.planted.items()), one.kinds)).encode())
    return total.hexdigest()


def _touches(kind: str, machine: str, browser: str, backend: str) -> bool:
    """Say whether a cause of a kind touches such a series: versions of one only were changed."""
    return {
        "browser_version": browser == _BROWSERS[1],
        "engine_version": backend == "webgpu",
        "commit": True,
        "machine": machine == _MACHINES[0],
    }[kind]


def _attributes(random: np.random.Generator, begins: Mapping[str, int]) -> dict[str, list[str]]:
    """Return each attribute day by day; those of a planted cause change on its day, too."""

    def steps(low: int, high: int, prefix: str, planted: int | None, other: bool) -> list[str]:
        changes = set(np.cumsum(random.integers(low, high + 1, size=POINTS)).tolist())
        if planted is not None and not other:
            changes.add(planted)
        count, said = 0, []
        for day in range(POINTS):
            count += day in changes
            said.append(f"{prefix}{count}")
        return said

    browser, engine = begins.get("browser_version"), begins.get("engine_version")
    system, commit = begins.get("machine"), begins.get("commit")
    return {
        "commit": steps(1, 5, "c0ffee", commit, False),
        "version chromium": steps(20, 40, "14", browser, True),
        "version firefox": steps(20, 40, "14", browser, False),
        "engine webgpu": steps(20, 40, "1.2", engine, False),
        "engine wasm": steps(20, 40, "1.2", engine, True),
        f"system {_MACHINES[0]}": steps(40, 60, "Linux 6.", system, False),
        f"system {_MACHINES[1]}": steps(40, 60, "Linux 6.", system, True),
    }
