# SPDX-License-Identifier: Apache-2.0
"""Whether two measurements of a cell can be compared, and what else differs. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from accelerate_core.errors import ConfigError
from accelerate_core.types import CellStatus, Measurement

from .rows import STATUS, Row, Verdict


def check_machines(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Refuse hosts that are not alike: ConfigError names what differs."""
    for name in ("system", "processor", "cores"):
        if old.get(name) != new.get(name):
            raise ConfigError(
                f"the two were measured on different machines: {name} is {old.get(name)!r} "
                f"and {new.get(name)!r}",
                hint="Measure both here, or compare all the same with --across-machines.",
            )


def check_adapters(old: Measurement, new: Measurement) -> None:
    if old.worker is None or new.worker is None or old.fell_back_from != new.fell_back_from:
        return
    if (one := _adapter(old)) != (other := _adapter(new)):
        raise ConfigError(
            f"measured on different adapters: {one} and {other}",
            where=str(old.cell),
            hint="Measure both on one, or compare all the same with --across-machines.",
        )


def _adapter(measurement: Measurement) -> str:
    worker = measurement.worker
    if worker is None:
        return "none"
    parts = [worker.adapter.vendor, worker.adapter.architecture] if worker.adapter else []
    kind = "software" if worker.is_software else "hardware" if worker.is_software is False else ""
    said = " ".join(part for part in (*parts, kind, "simulated" * worker.is_simulated) if part)
    return said or "unknown"


def by_status(old: Measurement, new: Measurement) -> Row | None:
    """Return the row of a cell whose numbers cannot be compared; None where they can."""
    was, now = old.status is CellStatus.OK, new.status is CellStatus.OK
    if was and now:
        if old.fell_back_from == new.fell_back_from:
            return None
        side, fallen = ("new", new) if new.fell_back_from else ("old", old)
        is_lost = fallen is new and new.is_required
        verdict = Verdict.WORSE if is_lost else Verdict.UNDECIDED
        ran = fallen.worker.target if fallen.worker else "another target"
        return Row(cell=old.cell, metric=STATUS, verdict=verdict, note=f"the {side} ran on {ran}")
    broke = was and new.is_failure and new.status is not CellStatus.SKIPPED
    mended = now and old.status in (CellStatus.MISMATCH, CellStatus.FAILED)
    verdict = Verdict.WORSE if broke else Verdict.BETTER if mended else Verdict.UNDECIDED
    error = new.error or old.error
    note = f"{old.status} before, {new.status} now" + (f": {error.message}" if error else "")
    return Row(cell=old.cell, metric=STATUS, verdict=verdict, note=note)


def notes(pairs: Sequence[tuple[Measurement, Measurement]]) -> tuple[str, ...]:
    """Return what else differs between the two, and what such numbers are worth."""
    found: dict[str, None] = {}
    for old, new in pairs:
        if old.worker is None or new.worker is None:
            continue
        for what in ("browser_version", "engine_version", "device_type", "threads"):
            was, now = getattr(old.worker, what), getattr(new.worker, what)
            if was != now:
                found[f"{new.cell.target}: {what.replace('_', ' ')} {was} -> {now}"] = None
        if old.worker.is_simulated or new.worker.is_simulated:
            found[f"{new.cell.target}: SIMULATED, these are no measurements"] = None
        if _adapter(old) != _adapter(new):
            found[f"{new.cell.target}: adapter {_adapter(old)} -> {_adapter(new)}"] = None
    return tuple(found)
