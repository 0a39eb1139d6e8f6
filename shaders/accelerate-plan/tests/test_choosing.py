# SPDX-License-Identifier: Apache-2.0
"""What was measured decides which variant does a step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
from accelerate_plan.choosing import candidates, choice, chooser, guess
from accelerate_plan.devices import adapter_key, device_of
from accelerate_plan.kernels import Binding, Device, Kernel, Variant
from accelerate_plan.program import Step
from accelerate_plan.tuning_book import (
    Book,
    Measured,
    read_book,
    sizes_of,
    source_of,
    write_book,
)

from accelerate_core.errors import Unsupported
from accelerate_core.types import AdapterInfo, Target, WorkerInfo

ADAPTER = "mesa | llvmpipe"
GRID = ("rows / workgroup", "1", "1")
KERNEL = Kernel(
    operation="rows",
    summary="Rows.",
    tolerance=1e-6,
    bindings=(Binding(name="x", role="input"),),
    params={"rows": "u32", "has_bias": "u32", "scale": "f32"},
    variants=(
        Variant(
            name="tiled",
            source="tiled",
            grid=GRID,
            when="rows % 4 == 0",
            constants={"workgroup": 8},
            tune={"workgroup": (8, 64)},
            suits="hardware",
        ),
        Variant(name="plain", source="plain", grid=GRID, constants={"workgroup": 1}),
        Variant(name="half", source="half", grid=("1", "1", "1"), features=("shader-f16",)),
    ),
)
SOFTWARE = Device(is_software=True, adapter=ADAPTER)


def _step(rows: int, **more: float) -> Step:
    params: Mapping[str, Any] = {"rows": rows, "has_bias": 0, "scale": 1.0, **more}
    return Step(operation="rows", operands={"x": "x"}, params=params)


def _measured(rows: int, variant: str, ms: float, **constants: float) -> Measured:
    return Measured(
        adapter=ADAPTER,
        operation="rows",
        sizes=sizes_of(_step(rows).params),
        variant=variant,
        constants=constants,
        source=source_of(KERNEL.variant(variant)),
        best_ms=ms,
        median_ms=ms,
        spread=0.1,
        samples=5,
        method="wall",
        measured_at="2026-11-21T12:00:00+00:00",
        versions={},
    )


def test_a_guess_prefers_what_suits_the_device() -> None:
    assert guess(KERNEL, _step(8), SOFTWARE)[0].name == "plain"
    assert guess(KERNEL, _step(8), attrs.evolve(SOFTWARE, is_software=False))[0].name == "tiled"
    only_tiled = attrs.evolve(KERNEL, variants=KERNEL.variants[:1])
    with pytest.raises(Unsupported, match="no variant of rows") as refused:
        guess(only_tiled, _step(7), SOFTWARE)
    assert refused.value.info.accepted == ("tiled: rows % 4 == 0",)


def test_the_fastest_measured_one_that_can_is_taken() -> None:
    book = Book(ADAPTER).with_entries(
        [
            _measured(128, "plain", 2.0, workgroup=1),
            _measured(128, "tiled", 1.5, workgroup=8),
            _measured(128, "tiled", 1.0, workgroup=64),
        ]
    )
    made = choice(book, KERNEL, _step(128), SOFTWARE)
    assert (made.variant.name, made.constants, made.measured_ms) == ("tiled", {"workgroup": 64}, 1)
    # Near by, where the fastest cannot: the next one. And far away: a guess.
    near, far = choice(book, KERNEL, _step(130), SOFTWARE), choice(book, KERNEL, _step(8), SOFTWARE)
    assert (near.variant.name, near.measured_ms) == ("plain", 2.0)
    assert (far.variant.name, far.measured_ms) == ("plain", None)
    assert chooser(book)(KERNEL, _step(128), SOFTWARE) == (KERNEL.variants[0], {"workgroup": 64})


def test_the_guess_stays_unless_another_is_clearly_faster() -> None:
    def chosen(tiled_ms: float) -> str:
        entries = [
            _measured(128, "plain", 2.0, workgroup=1),
            _measured(128, "tiled", tiled_ms, workgroup=8),
        ]
        return choice(Book(ADAPTER, tuple(entries)), KERNEL, _step(128), SOFTWARE).variant.name

    assert (chosen(1.9), chosen(1.7), chosen(3.0)) == ("plain", "tiled", "plain")


def test_the_nearest_sizes_count() -> None:
    book = Book(ADAPTER).with_entries(
        [
            *(_measured(64, "tiled", ms, workgroup=w) for w, ms in ((8, 1.0), (64, 2.0))),
            *(_measured(256, "tiled", ms, workgroup=w) for w, ms in ((8, 9.0), (64, 8.0))),
        ]
    )
    chosen = {n: choice(book, KERNEL, _step(n), SOFTWARE).constants for n in (48, 64, 200, 512)}
    assert [one["workgroup"] for one in chosen.values()] == [8, 8, 64, 64]


def test_a_new_measurement_replaces_the_old_one_and_changes_the_digest() -> None:
    one = Book(ADAPTER).with_entries([_measured(128, "plain", 2.0, workgroup=1)])
    two = one.with_entries([_measured(128, "plain", 3.0, workgroup=1)])
    assert [entry.best_ms for entry in two.entries] == [3.0]
    assert len({Book(ADAPTER).digest, one.digest, two.digest}) == 3


def test_what_was_measured_of_other_wgsl_does_not_count() -> None:
    book = Book(ADAPTER).with_entries([_measured(128, "tiled", 1.0, workgroup=8)])
    edited = attrs.evolve(KERNEL.variants[0], source="tiled, but edited")
    kernel = attrs.evolve(KERNEL, variants=(edited, *KERNEL.variants[1:]))
    assert choice(book, kernel, _step(128), SOFTWARE).measured_ms is None


def test_candidates_are_what_the_device_can_do() -> None:
    def names(step: Step, device: Device) -> list[tuple[str, Any]]:
        found = candidates(KERNEL, step, device)
        return [(one.variant.name, one.constants.get("workgroup")) for one in found]

    assert names(_step(128), SOFTWARE) == [("tiled", 8), ("tiled", 64), ("plain", 1)]
    able = attrs.evolve(SOFTWARE, features=frozenset({"shader-f16"}))
    assert names(_step(127), able) == [("plain", 1), ("half", None)]
    # One row a workgroup: more than the device counts on a side.
    assert names(_step(1 << 20), SOFTWARE) == [("tiled", 64)]


def test_a_book_is_kept_by_adapter(tmp_path: Path) -> None:
    book = Book(ADAPTER).with_entries([_measured(128, "plain", 2.0, workgroup=1)])
    path = write_book(tmp_path, book)
    assert read_book(tmp_path, ADAPTER) == book
    assert read_book(tmp_path, "another") == Book("another")
    assert [*tmp_path.rglob("*.part")] == []
    path.write_text("{")
    assert read_book(tmp_path, ADAPTER) == Book(ADAPTER)


def test_the_adapter_is_named_by_what_it_says_of_itself() -> None:
    one = AdapterInfo(vendor="google", architecture="swiftshader")
    info = WorkerInfo(
        target=Target("webgpu", "plan", "chromium"),
        adapter=one,
        features=("timestamp-query",),
        limits={"maxBufferSize": 1 << 30},
        is_software=True,
    )
    device = device_of(info)
    assert device.adapter == "google | swiftshader"
    assert device.limit("maxBufferSize") == 1 << 30 and device.is_software
    assert device.features == {"timestamp-query"}
    # The same adapter in another browser; and where a browser hides which one it is.
    assert adapter_key(attrs.evolve(info, target=Target("wgpu"))) == device.adapter
    hidden = attrs.evolve(info, adapter=AdapterInfo())
    assert adapter_key(hidden) == adapter_key(attrs.evolve(hidden, adapter=None))
    assert adapter_key(hidden).startswith("unnamed adapter ")
    assert adapter_key(hidden) != adapter_key(attrs.evolve(hidden, is_software=False))
