# SPDX-License-Identifier: Apache-2.0
"""The HTML report: what is in the file, and what a real browser makes of it."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest
from accelerate_reports.pages import plot_library
from accelerate_reports.to_html import render

from accelerate_core.types import RunSummary

from . import samples
from .chromium import Chromium


class Tags(HTMLParser):
    """Collect tags with their attributes, and the text outside scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem is None:
            self.text += data


def read_page(summary: RunSummary, cache_dir: Path) -> Tags:
    page = render(summary, cache_dir=cache_dir)
    # Python's parser needs seconds for the library; a browser reads it below.
    return Tags(page.replace(plot_library(cache_dir), "", 1))


def write(path: Path, summary: RunSummary, cache_dir: Path) -> Path:
    file = path / "report.html"
    file.write_text(render(summary, cache_dir=cache_dir), encoding="utf-8")
    return file


@pytest.mark.parametrize("count", [1, 100, 400])
def test_the_file_stays_under_2_mb(count: int, cache_dir: Path) -> None:
    page = render(samples.large(count), cache_dir=cache_dir)
    assert len(page.encode()) < 2_000_000


def test_nothing_is_loaded_from_elsewhere(cache_dir: Path) -> None:
    page = read_page(samples.everything(), cache_dir)
    references = [
        value
        for _, attributes in page.tags
        for name, value in attributes.items()
        if name in ("src", "href", "action", "srcset", "data", "poster")
    ]
    assert references == ["data:,"]
    styles = [tag for tag, _ in page.tags if tag in ("link", "iframe", "img", "object", "base")]
    assert styles == ["link"]  # the icon above


def test_it_tells_the_truth(cache_dir: Path) -> None:
    page = read_page(samples.everything(), cache_dir)
    text = " ".join(page.text.split())
    assert "9 ok, 1 mismatch, 2 failed, 2 missing, 1 skipped" in text
    assert "What to do: accel browsers install edge" in text
    assert "SwiftShader Device · 156.0.7300.12" in text
    assert "0123abcd0123" in text  # the commit
    good = read_page(samples.summary(*samples.good()), cache_dir)
    for shown, word in ((page, "failed"), (good, "passed")):
        (verdict,) = (
            attributes["class"]
            for tag, attributes in shown.tags
            if tag == "span" and str(attributes.get("class")).startswith("verdict")
        )
        assert verdict == f"verdict {word}"


def test_hostile_text_stays_text(cache_dir: Path) -> None:
    harmless = read_page(samples.summary(samples.measurement()), cache_dir)
    page = read_page(samples.summary(samples.hostile()), cache_dir)
    scripts = [tag for tag, _ in page.tags if tag == "script"]
    assert scripts == [tag for tag, _ in harmless.tags if tag == "script"]
    assert "</script><script>alert(1)</script>|`[bold]'\"&amp;]]>" in page.text


@pytest.fixture(scope="module")
def opened(
    chromium: Chromium, cache_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Chromium:
    """A browser that shows every kind of row."""
    chromium.open(write(tmp_path_factory.mktemp("page"), samples.everything(), cache_dir))
    return chromium


def test_a_real_browser_draws_every_plot_without_complaint(
    opened: Chromium,
) -> None:
    assert opened.complaints() == []
    assert [url for url in opened.requests() if not url.startswith(("file:", "data:"))] == []
    drawn = opened.value(
        "Object.fromEntries([...document.querySelectorAll('figure')].map(figure =>"
        " [figure.dataset.plot, figure.querySelectorAll('svg .role-mark path').length]))"
    )
    assert set(drawn) == {"latency", "load", "request", "error"}
    shown = [one for one in samples.everything().measurements if one.samples_ms]
    assert drawn["latency"] >= sum(len(one.samples_ms) for one in shown) + len(shown)
    assert drawn["error"] >= 2 * len(shown)
    assert min(drawn.values()) > 0


def test_the_simulated_and_the_software_rows_are_marked_in_the_plots(
    opened: Chromium,
) -> None:
    labels = opened.value(
        "[...document.querySelectorAll('figure[data-plot=latency] .role-axis-label text')]"
        ".map(text => text.textContent)"
    )
    assert any(label.startswith("SIMULATED · fake") for label in labels)
    assert any(label.startswith("software · webgpu:chromium") for label in labels)
    assert any(label.startswith("mismatch · software · webgpu:firefox") for label in labels)


def test_columns_sort_by_number_and_unknown_stays_last(opened: Chromium) -> None:
    click = "document.querySelector('th[title^=median] button').click()"
    column = "[...document.querySelectorAll('tbody td.latency')].map(td => td.dataset.value)"
    known = sorted(one.latency_ms for one in samples.everything().measurements if one.latency_ms)
    for expected in (known, known[::-1]):
        opened.value(click)
        values = opened.value(column)
        assert [float(value) for value in values if value] == expected
        assert values[len(known) :] == [""] * (len(values) - len(known))


def test_the_filter_hides_rows(opened: Chromium) -> None:
    opened.value(
        "(() => { const input = document.querySelector('input.filter'); input.value = 'simulated';"
        " input.dispatchEvent(new Event('input')); })()"
    )
    visible = opened.value("[...document.querySelectorAll('tbody tr:not([hidden])')].length")
    assert visible == 1


def test_another_view_can_be_chosen(opened: Chromium) -> None:
    figure = "document.querySelector('figure[data-plot=load]')"
    title = f"{figure}.querySelector('.role-axis-title text').textContent"
    assert opened.value(title) == "time (ms)"
    opened.value(f"{figure}.querySelector('button[data-view=share]').click()")
    opened.wait_for(f"{title} === 'share of the time'")
    assert opened.complaints() == []


def test_a_tooltip_says_what_a_mark_is(chromium: Chromium, tmp_path: Path, cache_dir: Path) -> None:
    summary = samples.summary(samples.hostile(), samples.measurement("wasm:chromium"))
    chromium.open(write(tmp_path, summary, cache_dir))
    box = chromium.value(
        "(() => { const mark = document.querySelector('figure[data-plot=load] .mark-rect path');"
        " mark.scrollIntoView({block: 'center'}); const b = mark.getBoundingClientRect();"
        " return {x: b.x + b.width / 2, y: b.y + b.height / 2}; })()"
    )
    chromium.call("Input.dispatchMouseEvent", type="mouseMoved", **box)
    tooltip = "document.querySelector('#vg-tooltip-element.visible')"
    chromium.wait_for(f"{tooltip} !== null")
    text = chromium.value(f"{tooltip}.textContent")
    assert "640 ms" in text and "launch" in text and "alert(1)" in text
    assert chromium.value(f"{tooltip}.querySelectorAll('script').length") == 0
    assert chromium.complaints() == []


def test_dark_and_narrow(chromium: Chromium, tmp_path: Path, cache_dir: Path) -> None:
    file = write(tmp_path, samples.summary(*samples.good()), cache_dir)
    ground = "getComputedStyle(document.body).backgroundColor"
    label = "getComputedStyle(document.querySelector('figure .role-axis-label text')).fill"
    chromium.open(file, width=400)
    light = chromium.value(ground), chromium.value(label)
    chromium.use_dark(True)
    dark = chromium.value(ground), chromium.value(label)
    assert light[0] != dark[0] and light[1] != dark[1]
    assert chromium.value("document.documentElement.scrollWidth") <= 400
    assert chromium.complaints() == []


@pytest.mark.parametrize("summary", [samples.summary(), samples.summary(samples.skipped())])
def test_a_run_without_numbers_has_no_plots_and_no_complaints(
    summary: RunSummary, chromium: Chromium, tmp_path: Path, cache_dir: Path
) -> None:
    chromium.open(write(tmp_path, summary, cache_dir))
    assert chromium.value("document.querySelectorAll('figure').length") == 0
    assert "Nothing was measured." in chromium.value("document.body.textContent")
    assert chromium.complaints() == []
