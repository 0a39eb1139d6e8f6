# SPDX-License-Identifier: Apache-2.0
"""What is told stays readable and within TestRail's limits, and is known again."""

from __future__ import annotations

import attrs
import pytest
from accelerate_testrail.rendering import (
    automation_id,
    file_name,
    line,
    mark,
    marks,
    regression_result,
    result,
    run_description,
    run_name,
)

from accelerate_core.errors import ErrorInfo
from accelerate_core.events import Attachment
from accelerate_core.testing import samples
from accelerate_core.types import Cell, Phases, Target

from .conftest import regression

CELL = Cell(model="minilm", target=Target.parse("webgpu/ort:chromium"), batch_size=4)
LINK = "https://ci.example.com/job/7"


def test_an_automation_id_is_the_same_for_ever() -> None:
    assert automation_id(CELL) == "accelerate-f67bb7a00ebcb13ffea9867e"


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "minilm2"},
        {"target": Target.parse("wasm:chromium")},
        {"precision": "fp16"},
        {"batch_size": 5},
        {"sequence_length": 32},
    ],
)
def test_each_cell_has_an_automation_id_of_its_own(changes: dict[str, object]) -> None:
    assert automation_id(attrs.evolve(CELL, **changes)) != automation_id(CELL)


@pytest.mark.parametrize("text", [*samples.HOSTILE, "    \n\n# head\n- list\n[accelerate x]"])
def test_words_of_others_stand_in_a_code_block(text: str) -> None:
    one = samples.mismatch(text=text)
    comment = str(result(one, 5, None, LINK)["comment"])
    *block, link, last = comment.split("\n\n")
    assert (link, last) == (LINK, mark(one.id))
    assert all(part.startswith("    ") for shown in block for part in shown.split("\n"))
    assert not {"\x1b", "\x07", "\u202e"} & set(comment)


def test_a_long_text_is_cut_and_the_link_stays() -> None:
    error = ErrorInfo(kind="EngineError", message="x\n" * 10_000, hint="🙂" * 10_000)
    one = attrs.evolve(samples.mismatch(), error=error)
    comment = str(result(one, 5, None, LINK)["comment"])
    assert len(comment) < 10_000 and "…" in comment
    assert comment.endswith(f"\n\n{LINK}\n\n{mark(one.id)}")


def test_nobody_else_can_write_a_mark() -> None:
    error = ErrorInfo(kind="EngineError", message=f"see {mark('another')}")
    comment = str(result(attrs.evolve(samples.mismatch(), error=error), 5, None, None)["comment"])
    assert marks(comment) == marks(mark(samples.mismatch().id))


def test_titles_are_one_line_of_at_most_250_characters() -> None:
    assert line("a\n" * 10_000) == ("a " * 250)[:249].rstrip() + "…"
    assert line("\r\n") == "?"
    run = samples.run_info(name="pipeline\n" * 100)
    assert len(run_name(run)) <= 250 and run_name(run).endswith("2026-11-21 12:30")
    assert run_name(samples.run_info(name=None, project_commit=None)) == (
        "accelerate 2026-11-21 12:30"
    )


def test_a_description_names_some_cells_without_a_case() -> None:
    cells = [attrs.evolve(CELL, batch_size=number) for number in range(1, 100)]
    text = run_description(samples.run_info(), cells, None)
    assert "Cells without a case: 99" in text and text.count("batch") == 20
    long = [attrs.evolve(cell, model="x" * 10_000) for cell in cells]
    text = run_description(samples.run_info(), long, LINK)
    assert len(text) < 5_000 and LINK in text and "…" in text


@pytest.mark.parametrize(
    ("samples_ms", "launch_ms", "elapsed"),
    [((35.0,), None, "1s"), ((500.0, 1400.0), 100_600.0, "102s"), ((), None, None)],
)
def test_elapsed_is_whole_seconds(
    samples_ms: tuple[float, ...], launch_ms: float | None, elapsed: str | None
) -> None:
    phases = Phases(launch_ms=launch_ms)
    one = samples.measurement(samples_ms=samples_ms, phases=phases)
    assert result(one, 1, None, None).get("elapsed") == elapsed


def test_a_regression_says_what_became_worse() -> None:
    told = regression_result(attrs.evolve(regression(), label="latency of tiny", link=LINK), 5, "v")
    assert "latency of tiny became worse: 10 → 15" in str(told["comment"])
    assert "Severity: high" in str(told["comment"]) and LINK in str(told["comment"])
    assert (told["status_id"], told["version"]) == (5, "v")


@pytest.mark.parametrize("name", ["run-1.png", "no suffix", "../a/b.svg", "x" * 1000 + ".csv"])
def test_a_file_has_the_name_of_its_event(name: str) -> None:
    file = Attachment(name=name, media_type="image/png", data=b"")
    assert file_name(file, "a") != file_name(file, "b") == file_name(file, "b")
    assert "/" not in file_name(file, "a") and len(file_name(file, "a")) < 130
