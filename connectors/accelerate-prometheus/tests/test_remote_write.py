# SPDX-License-Identifier: Apache-2.0
"""What a real Prometheus has after it was written to, and what it will not take."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import cramjam
import pytest
from accelerate_prometheus.plugin import RemoteWriteSettings
from accelerate_prometheus.remote_write import RemoteWrite
from accelerate_prometheus.samples import Sample
from accelerate_prometheus.writing import body

from accelerate_core import events
from accelerate_core.errors import ConnectorError
from accelerate_core.secrets import Secret
from accelerate_core.settings import Seconds
from accelerate_core.testing import samples

from . import servers

LATENCY = "accelerate_measurement_latency_seconds"
_numbers = itertools.count()


def writer(url: str, **more: Any) -> RemoteWrite:
    return RemoteWrite(RemoteWriteSettings(url=f"{url}/api/v1/write", **more))


@pytest.fixture
def write(prometheus: servers.Prometheus) -> Iterator[RemoteWrite]:
    made = writer(prometheus.url, labels={"instance": "bench-1"})
    yield made
    made.close()


@pytest.fixture
def name() -> str:
    """Return a model's name that no other test uses."""
    return f"written-{next(_numbers)}"


def measured(model: str, at: datetime, **changes: Any) -> events.MeasurementStored:
    one = samples.measurement(text=model, started_at=at, **changes)
    return events.MeasurementStored(run_id="run-1", at=at, measurement=one)


def raw(prometheus: servers.Prometheus, selector: str) -> list[list[Any]]:
    """Return the samples of the only series of the last hours, oldest first."""
    [series] = prometheus.ask(f"{selector}[3h]")
    found: list[list[Any]] = series["values"]
    return found


def test_a_measurement_is_written_at_its_own_time(
    write: RemoteWrite, prometheus: servers.Prometheus, name: str
) -> None:
    at = datetime.now(UTC) - timedelta(minutes=20)
    write.deliver(measured(name, at))
    assert raw(prometheus, f'{LATENCY}{{model="{name}"}}') == [[round(at.timestamp(), 3), "0.0125"]]
    [series] = prometheus.ask(f'{LATENCY}{{model="{name}"}}', time=at.timestamp() + 1)
    assert series["metric"] == {
        "__name__": LATENCY,
        "job": "accelerate",
        "instance": "bench-1",
        "model": name,
        "target": "webgpu/ort:chromium",
        "precision": "fp32",
        "batch_size": "1",
        "sequence_length": "32",
        "scenario": "single_stream",
    }


def test_writing_again_changes_nothing(
    write: RemoteWrite, prometheus: servers.Prometheus, name: str
) -> None:
    told = measured(name, datetime.now(UTC))
    write.deliver(told)
    write.deliver(told)
    assert len(raw(prometheus, f'{LATENCY}{{model="{name}"}}')) == 1


def test_what_comes_too_late_is_not_tried_again(
    write: RemoteWrite, prometheus: servers.Prometheus, name: str
) -> None:
    now = datetime.now(UTC) - timedelta(seconds=5)
    write.deliver(measured(name, now))
    # Behind the series' last sample, and of a new series before what is kept in memory.
    for model, late in ((name, timedelta(minutes=1)), (f"{name}-new", timedelta(days=2))):
        with pytest.raises(ConnectorError) as caught:
            write.deliver(measured(model, now - late))
        info = caught.value.info
        assert info.retryable is False and "takes no older ones" in info.message
        assert info.hint and "out_of_order_time_window" in info.hint
    with pytest.raises(ConnectorError) as caught:
        write.deliver(measured(name, now, latency_ms=99.0))
    info = caught.value.info
    assert info.retryable is False and "another value of the same series" in info.message
    assert info.hint and "`labels`" in info.hint
    # The next one is taken all the same.
    write.deliver(measured(name, now + timedelta(seconds=1)))
    assert len(raw(prometheus, f'{LATENCY}{{model="{name}"}}')) == 2


def test_what_is_older_than_the_window_is_not_tried_again_either(tmp_path: Path) -> None:
    with servers.prometheus_in(tmp_path, late="5m") as prometheus:
        write = writer(prometheus.url)
        now = datetime.now(UTC)
        write.deliver(measured("a", now))
        write.deliver(measured("a", now - timedelta(minutes=4)))
        with pytest.raises(ConnectorError) as caught:
            write.deliver(measured("a", now - timedelta(hours=9)))
        assert caught.value.info.retryable is False
        assert "takes no older ones" in caught.value.info.message
        write.close()


@pytest.mark.parametrize("text", [*samples.HOSTILE, "x" * 10_000])
def test_any_words_are_a_label(
    write: RemoteWrite, prometheus: servers.Prometheus, name: str, text: str
) -> None:
    write.deliver(measured(f"{name} {text}", datetime.now(UTC)))
    [series] = prometheus.ask(f'{LATENCY}{{model=~"{name} .*"}}')
    word = series["metric"]["model"]
    assert word.isprintable() and len(word) <= 200 and len(word) > len(name) + 2


def test_a_regression_tells_its_story_in_one_series(
    write: RemoteWrite, prometheus: servers.Prometheus, name: str
) -> None:
    one = next(one for one in samples.every_event() if isinstance(one, events.Regression))
    now = datetime.now(UTC)
    for minutes, status, number in ((10, "open", "r-1"), (5, "fixed", "r-1"), (0, "open", "r-2")):
        at = now - timedelta(minutes=minutes)
        write.deliver(
            attrs.evolve(one, at=at, status=status, id=number, model=name, severity="critical")
        )
    values = raw(prometheus, f'accelerate_regression_severity{{model="{name}"}}')
    assert [value for _, value in values] == ["3", "0", "3"]


def test_what_is_not_enabled_and_who_is_not_known_is_named(tmp_path: Path) -> None:
    (tmp_path / "web.yml").write_text(servers.LOCKED)
    with servers.prometheus_in(tmp_path, more=("--web.config.file=web.yml",)) as locked:
        known = writer(locked.url, username="accelerate", password=Secret("right-password"))
        unknown = writer(locked.url)
        mistaken = writer(locked.url, token=Secret("a-wrong-token"))
        [problem] = known.check()
        assert "answered 404" in problem and "--web.enable-remote-write-receiver" in problem
        [problem] = unknown.check()
        assert "answered 401" in problem and "`username`" in problem
        [problem] = mistaken.check()
        assert "answered 401" in problem and "a-wrong-token" not in problem
        for one in (known, unknown, mistaken):
            one.close()


def test_a_token_that_is_no_header_is_a_typed_error_without_it(
    prometheus: servers.Prometheus,
) -> None:
    for token in ("two\nlines-of-secret", "größer-als"):
        write = writer(prometheus.url, token=Secret(token))
        problems = write.check()
        assert all(token not in one for one in problems)
        write.close()
        assert bool(problems) == ("\n" in token), "a server without credentials ignores them"


def test_who_never_answers_is_waited_for_as_long_as_the_file_says() -> None:
    began = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        write = writer(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=Seconds(0.1))
        with pytest.raises(ConnectorError, match=r"no answer in 0\.1 s") as caught:
            write.deliver(measured("a", datetime.now(UTC)))
        write.close()
    assert caught.value.info.retryable and time.monotonic() - began < 10


def decompressed(content: bytes) -> bytes:
    return bytes(cramjam.snappy.decompress_raw(content))


def test_the_wire_format_is_that_of_the_specification() -> None:
    at = datetime(1970, 1, 1, 0, 0, 0, 300_000, tzinfo=UTC)
    made = body([Sample("m", (("b", "2"),), 1.5, at)], (("a", "1"),))
    labels = b"\x0a\x0d\x0a\x08__name__\x12\x01m"
    labels += b"\x0a\x06\x0a\x01a\x12\x011" + b"\x0a\x06\x0a\x01b\x12\x012"
    sample = b"\x12\x0c\x09" + b"\x00\x00\x00\x00\x00\x00\xf8\x3f" + b"\x10\xac\x02"
    series = labels + sample
    assert decompressed(made) == b"\x0a" + bytes([len(series)]) + series
    before = body([Sample("m", (), 0.0, datetime(1969, 12, 31, tzinfo=UTC))], ())
    assert decompressed(before).endswith(b"\xff\xff\xff\xff\x01")


def test_a_run_of_200_measurements_is_written_in_seconds(
    write: RemoteWrite, prometheus: servers.Prometheus, name: str
) -> None:
    began = time.monotonic()
    now = datetime.now(UTC) - timedelta(seconds=400)
    for number in range(200):
        write.deliver(measured(name, now + timedelta(seconds=number)))
    assert time.monotonic() - began < 10
    assert len(raw(prometheus, f'{LATENCY}{{model="{name}"}}')) == 200
