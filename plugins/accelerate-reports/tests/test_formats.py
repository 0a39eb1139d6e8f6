# SPDX-License-Identifier: Apache-2.0
"""JSON, CSV, JUnit XML and Markdown, read back by readers that are not ours."""

from __future__ import annotations

import csv
import io
import json
import math
import xml.etree.ElementTree as ET
from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs
import pytest
from accelerate_reports import to_csv, to_html, to_json, to_junit, to_markdown
from accelerate_reports.rows import Row, load_ms, row
from accelerate_reports.to_terminal import TerminalReport
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from accelerate_core.errors import ConfigError, ErrorInfo
from accelerate_core.types import Cell, CellStatus, Measurement, RunSummary, Scenario, Target

from . import samples
from .test_page import Tags, read_page

MARKDOWN_TAGS = {"h2", "p", "code", "strong", "ul", "li", "details", "summary", "blockquote"} | {
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
}
ANYTHING = st.text(st.characters(codec=None), max_size=40)


def with_text(text: str) -> RunSummary:
    """Return a failed run whose every free text is `text`."""
    error = ErrorInfo(kind=text, message=text, where=text, accepted=(text,), hint=text)
    one = samples.measurement(
        cell=Cell(model=text, target=Target.parse("cpu"), precision=text),
        status=CellStatus.FAILED,
        error=error,
        id=text,
        task=text,
    )
    return samples.summary(one, name=text, host={text: text}, project_commit=text)


# --- JSON


@pytest.mark.parametrize("summary", [samples.everything(), samples.summary()])
def test_json_gives_the_summary_back(summary: RunSummary) -> None:
    assert to_json.parse(to_json.render(summary)) == summary


def test_json_stays_valid_where_numbers_are_not_finite() -> None:
    summary = samples.summary(samples.measurement(relative_l2=math.inf, tolerance=-math.inf))
    text = to_json.render(summary)
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert to_json.parse(text) == summary


def test_json_warns_of_what_is_simulated() -> None:
    data = json.loads(to_json.render(samples.summary(samples.simulated())))
    assert data["format_version"] == 1
    (warning,) = data["warnings"]
    assert "SIMULATED" in warning
    assert data["measurements"][0]["worker"]["is_simulated"] is True


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format_version": 2}', '{"format_version": 1}'])
def test_json_of_something_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="JSON report"):
        to_json.parse(text)


@given(ANYTHING)
@settings(max_examples=30)
def test_json_keeps_any_text(text: str) -> None:
    summary = with_text(text)
    assert to_json.parse(to_json.render(summary)) == summary


# --- CSV


def read_csv(summary: RunSummary) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(to_csv.render(summary), newline="")))


def test_csv_gives_the_numbers_back_unrounded() -> None:
    summary = samples.everything()
    lines = read_csv(summary)
    assert len(lines) == len(summary.measurements)
    for line, one in zip(lines, summary.measurements, strict=True):
        for name in ("latency_ms", "throughput_items_per_second", "relative_l2", "memory_bytes"):
            value = getattr(one, name)
            assert (float(line[name]) if line[name] else None) == value
        assert line["compile_ms"] == ("" if one.phases.compile_ms is None else "240.5")
        assert line["status"] == one.status.value
        assert line["is_failure"] == str(one.is_failure).lower()


def test_csv_tells_what_is_simulated_and_what_fell_back() -> None:
    lines = read_csv(samples.everything())
    assert [line["target"] for line in lines if line["device"] == "SIMULATED"] == ["fake"]
    assert [line["target"] for line in lines if line["fell_back_from"] == "webgpu:edge"] == ["cpu"]
    assert {line["is_software"] for line in lines} == {"true", "false", ""}


def test_csv_starts_no_formula() -> None:
    for first in "=+-@":
        (line,) = read_csv(with_text(f"{first}cmd()"))
        assert line["model"] == f"'{first}cmd()"
    (line,) = read_csv(samples.summary(samples.measurement(relative_l2=-1.0)))
    assert line["relative_l2"] == "-1.0"


@given(ANYTHING)
@settings(max_examples=30)
def test_csv_keeps_its_shape_with_any_text(text: str) -> None:
    (line,) = read_csv(with_text(text))
    assert len(line) == len(attrs.fields(Row)) + 2
    assert line["target"] == "cpu"
    assert None not in line.values()


# --- JUnit XML


def cases(summary: RunSummary) -> list[ET.Element]:
    return ET.fromstring(to_junit.render(summary)).findall("testsuite/testcase")


@pytest.mark.parametrize(
    ("one", "outcome"),
    [
        (samples.measurement(), None),
        (samples.simulated(), None),
        (samples.mismatch(), "failure"),
        (samples.failed(), "error"),
        (samples.missing("webgpu:edge", is_required=True), "error"),
        (samples.missing("webgpu:edge"), "skipped"),
        (samples.skipped(), "skipped"),
        (attrs.evolve(samples.skipped(), is_required=True), "error"),
    ],
)
def test_junit_outcomes(one: Measurement, outcome: str | None) -> None:
    (case,) = cases(samples.summary(one))
    found = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
    assert found == ([outcome] if outcome else [])
    assert (outcome in ("failure", "error")) == one.is_failure


def test_junit_counts_names_and_figures() -> None:
    summary = samples.everything()
    root = ET.fromstring(to_junit.render(summary))
    suite = root.find("testsuite")
    assert suite is not None
    for element in (root, suite):
        assert [element.get(name) for name in ("tests", "failures", "errors", "skipped")] == [
            "15",
            "1",
            "3",
            "2",
        ]
    assert suite.get("time") == "34.100"
    facts = {one.get("name"): one.get("value") for one in suite.findall("properties/property")}
    assert facts["commit"] == "0123abcd0123" and facts["id"] == "run-1"
    named = {case.get("name", ""): case for case in suite.findall("testcase")}
    assert "fake, fp32, batch 1, 32 tokens [SIMULATED]" in named
    case = named["webgpu:edge -> cpu, fp32, batch 1, 32 tokens"]
    known = {one.get("name"): one.get("value") for one in case.findall("properties/property")}
    shown = row(samples.fallback())
    told = {name: getattr(shown, name) for name in to_junit.PROPERTIES}
    assert known == {name: str(value) for name, value in told.items() if value is not None}
    assert {"latency_ms", "latency_p95_ms", "relative_l2", "tolerance"} <= set(known)
    seconds = (load_ms(shown) + sum(samples.fallback().samples_ms)) / 1000
    assert float(case.get("time") or 0) == pytest.approx(seconds, abs=1e-5)
    output = case.findtext("system-out") or ""
    values = [float(word) for word in output.rpartition(":")[2].split()]
    assert values == pytest.approx(samples.fallback().samples_ms, rel=1e-5)
    missing = named["webgpu:edge, fp32, batch 1, 32 tokens"].find("skipped")
    assert missing is not None and "accel browsers install edge" in (missing.text or "")
    assert "no such browser here" in (missing.get("message") or "")


def test_junit_names_no_two_cells_alike() -> None:
    one = samples.measurement()
    cells = [
        attrs.evolve(one.cell, scenario=Scenario(name=name))
        for name in ("single_stream", "offline")
    ]
    summary = samples.summary(*(attrs.evolve(one, cell=cell) for cell in cells))
    assert [case.get("name") for case in cases(summary)] == [
        "cpu, fp32, batch 1, 32 tokens",
        "cpu, fp32, batch 1, 32 tokens, offline",
    ]


@given(ANYTHING)
@settings(max_examples=60)
def test_junit_is_valid_xml_with_any_text(text: str) -> None:
    (case,) = cases(with_text(text))
    assert [child.tag for child in case] == ["properties", "error", "system-out"]
    # As bytes, too, which is what a CI system reads.
    ET.fromstring(to_junit.render(with_text(text)).encode("utf-8"))


# --- Markdown


def read_markdown(summary: RunSummary) -> str:
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    return parser.render(to_markdown.render(summary))


def test_markdown_is_a_table_that_tells_the_truth() -> None:
    page = read_markdown(samples.everything())
    body = page.partition("<tbody>")[2].partition("</tbody>")[0].split("<tr>")[1:]
    assert len(body) == 15
    assert sum("SIMULATED" in row for row in body) == 1
    assert sum("<strong>software</strong>" in row for row in body) == 4
    assert sum("❌" in row for row in body) == 4
    assert "<code>accel browsers install edge</code>" in page
    assert "webgpu:edge -&gt; cpu" in page
    assert page.startswith("<h2>❌ failed")
    assert read_markdown(samples.summary(samples.measurement())).startswith("<h2>✅ passed")


@given(ANYTHING)
@settings(max_examples=60)
def test_markdown_keeps_its_shape_with_any_text(text: str) -> None:
    tags = [tag for tag, _ in Tags(read_markdown(with_text(text))).tags]
    assert set(tags) <= MARKDOWN_TAGS
    # A second row, so that the model is a column.
    both = samples.summary(*with_text(text).measurements, samples.measurement())
    tags = [tag for tag, _ in Tags(read_markdown(both)).tags]
    assert tags.count("td") == 2 * tags.count("th")


@pytest.mark.parametrize("name", ["a|b", "a`b", "``", "`a|`b|", "*a*_b_", "@a #1 <b>"])
def test_markdown_shows_a_name_as_it_is(name: str) -> None:
    both = samples.summary(*with_text(name).measurements, samples.measurement())
    first_cell = read_markdown(both).partition("<tbody>")[2].partition("</td>")[0]
    assert Tags(first_cell).text.strip() == name
    assert "<code>" in first_cell


# --- HTML


@given(ANYTHING)
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_html_keeps_its_shape_with_any_text(cache_dir: Path, text: str) -> None:
    page = read_page(with_text(text), cache_dir)
    tags = [tag for tag, _ in page.tags]
    assert (tags.count("script"), tags.count("tr"), tags.count("figure")) == (4, 2, 4)
    policy = [attributes for tag, attributes in page.tags if tag == "meta"][1]
    assert str(policy["content"]).count("sha256-") == 3


@pytest.mark.parametrize("name", ["json", "markdown", "html", "terminal"])
def test_what_a_run_is_told_is_in_it(
    name: str, cache_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """That it was interrupted, what it changed against its history, and how much ran where."""
    host = {"cores": 2, "memory_bytes": 8 * 2**30, "processor": "x86-64"}
    one = samples.measurement(worker=samples.worker("cpu", threads=3), memory_bytes=5_000_000)
    run = samples.summary(one, is_interrupted=True, host=host)
    summary = attrs.evolve(run, notes=("regression: *of* [minilm](x)",))
    if name == "terminal":
        TerminalReport().write(summary)
        text = capsys.readouterr().out
    else:
        made = {
            "json": to_json.render,
            "markdown": read_markdown,
            "html": partial(to_html.render, cache_dir=cache_dir),
        }
        text = made[name](summary)
    assert "The run was interrupted" in text
    assert "regression: *of* [minilm](x)" in text  # as text, also in Markdown
    if name != "json":
        assert "3 threads" in text
    if name in ("markdown", "html"):
        assert "8.0 GiB" in text and "5.00" in text


@pytest.mark.parametrize("render", [to_csv.render, to_junit.render, to_markdown.render])
def test_the_same_run_gives_the_same_file(render: Callable[[RunSummary], str]) -> None:
    assert render(samples.everything()) == render(samples.everything())
