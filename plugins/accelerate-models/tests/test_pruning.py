# SPDX-License-Identifier: Apache-2.0
"""What leaves the cache and what stays, decided on made-up contents."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from accelerate_models.kept import Download, Entry, StoredFile, reference_of
from accelerate_models.pruning import Kept, Policy, parse_age, parse_size, plan

from accelerate_core.errors import ConfigError
from accelerate_core.host import Host
from accelerate_core.types import Asset, ModelSpec

NOW = 1e9
HOUR, DAY = 3600.0, 86400.0


def entry(
    name: str, assets: str, age: float, *, is_current: bool = True, source: str = ""
) -> Entry:
    spec = ModelSpec(
        name=name,
        source=source or f"/models/{name}",
        sha256=name,
        assets=tuple(Asset(letter, 10, letter) for letter in assets),
        inputs=(),
        outputs=(),
    )
    return Entry(Path(name), NOW - age, spec, is_current)


def file(letter: str, age: float) -> StoredFile:
    return StoredFile(Path(letter), letter, 10, NOW - age)


def names(gone: Kept) -> tuple[str, str]:
    return (
        "".join(sorted(one.path.name for one in gone.entries)),
        "".join(sorted(one.sha256 for one in gone.files)),
    )


OLD, RECENT, USED_NOW = entry("1", "ab", 40 * DAY), entry("2", "bc", 2 * DAY), entry("3", "d", 60)
STALE = entry("4", "e", 2 * DAY, is_current=False)
FILES = [file(letter, 50 * DAY) for letter in "abcdex"] + [file("y", 3 * DAY), file("z", 60)]
HERE = Kept([OLD, RECENT, USED_NOW, STALE], FILES)


@pytest.mark.parametrize(
    ("policy", "gone"),
    [
        (Policy(), ("4", "exy")),
        (Policy(older_than_s=30 * DAY), ("14", "aex")),
        (Policy(older_than_s=1 * DAY), ("124", "abcexy")),
        (Policy(older_than_s=1.0), ("124", "abcexy")),
        (Policy(keep_bytes=50), ("4", "exy")),
        (Policy(keep_bytes=49), ("14", "aexy")),
        (Policy(keep_bytes=0), ("124", "abcexy")),
        (Policy(is_all=True), ("1234", "abcdexyz")),
    ],
)
def test_what_goes(policy: Policy, gone: tuple[str, str]) -> None:
    assert names(plan(HERE, policy, NOW)) == gone


def test_a_file_just_written_outlives_its_entry() -> None:
    here = Kept([OLD], [file("a", 60), file("b", 2 * HOUR)])
    assert names(plan(here, Policy(older_than_s=30 * DAY), NOW)) == ("1", "b")


def test_what_a_crash_left_goes_after_an_hour() -> None:
    left = [StoredFile(Path(str(age)), "", 10, NOW - age) for age in (60, 2 * HOUR)]
    assert [one.path.name for one in plan(Kept([], left), Policy(), NOW).files] == ["7200.0"]


def test_a_download_goes_with_the_last_model_made_of_it() -> None:
    first, other = (Download(Path(f"/hub/{name}"), 100, NOW - 9 * DAY) for name in "ab")
    made = [
        entry("1", "a", 40 * DAY, source="/hub/a/snapshots/0"),
        entry("2", "b", 40 * DAY, source="/hub/b/snapshots/0/onnx/model.onnx"),
        entry("3", "c", 2 * DAY, source="/hub/b/snapshots/0"),
    ]
    here = Kept(made, [], [first, other])
    assert plan(here, Policy(older_than_s=30 * DAY), NOW).downloads == (first,)
    assert plan(here, Policy(keep_bytes=150), NOW).downloads == (first,)
    assert plan(here, Policy(keep_bytes=99), NOW).downloads == (first, other)


@pytest.mark.parametrize(
    ("source", "part", "reference"),
    [
        ("/m/bert", "model", "dir:/m/bert"),
        ("/m/bert", "decoder", "dir:/m/bert#decoder"),
        ("/m/bert.onnx", None, "file:/m/bert.onnx"),
        ("/v/site-packages/some/model", "model", "package:some/model"),
        (
            f"/cache/hub/models--some--bert/snapshots/{'0a' * 20}",
            "model",
            f"hf:some/bert@{'0a' * 20}",
        ),
    ],
)
def test_a_remembered_model_is_called_what_one_types(
    tmp_path: Path, source: str, part: str | None, reference: str
) -> None:
    parts = {"part": part, "parts": ["model", "decoder"]} if part else {}
    spec = entry("x", "", 0, source=source).spec
    assert spec is not None
    ctx = Host(cache_dir=Path("/cache"), state_dir=tmp_path).context
    assert reference_of(attrs.evolve(spec, metadata=parts), ctx) == reference


def test_times_and_sizes() -> None:
    assert parse_age("30d") == 30 * DAY and parse_age("1.5 h") == 1.5 * HOUR
    assert parse_size("5GB") == 5 * 10**9 and parse_size("1.5MiB") == 3 << 19
    assert parse_size("10") == 10


@pytest.mark.parametrize("text", ["", "d", "30", "-1d", "30 years", "1e3d", "nan"])
def test_a_time_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match="not a time") as caught:
        parse_age(text)
    assert "30d" in caught.value.info.accepted[0]


@pytest.mark.parametrize("text", ["", "GB", "-5GB", "5 elephants", "5G B"])
def test_a_size_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match="not a size") as caught:
        parse_size(text)
    assert "5GB" in caught.value.info.accepted[0]
