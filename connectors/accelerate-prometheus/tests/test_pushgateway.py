# SPDX-License-Identifier: Apache-2.0
"""What a real Pushgateway holds after runs came and went, and what `check` says of a wrong one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from accelerate_prometheus.plugin import PushgatewaySettings
from accelerate_prometheus.pushgateway import Pushgateway
from accelerate_prometheus.samples import GAUGES

from accelerate_core import events
from accelerate_core.errors import ConnectorError
from accelerate_core.secrets import Secret
from accelerate_core.testing import samples
from accelerate_core.types import Measurement, RunSummary

from . import servers

BASE: dict[str, Any] = {"run_id": "run-1", "at": samples.START}


@pytest.fixture
def push(pushgateway: servers.Pushgateway) -> Iterator[Pushgateway]:
    made = Pushgateway(PushgatewaySettings(url=pushgateway.url, labels={"instance": "bench-1"}))
    yield made
    made.close()


def run(*measured: Measurement, name: str | None = "a.toml", **more: Any) -> events.RunFinished:
    summary = RunSummary(run=samples.run_info(name=name, **more), measurements=measured)
    return events.RunFinished(**BASE, summary=summary)


def regression(**changes: Any) -> events.Regression:
    one = next(one for one in samples.every_event() if isinstance(one, events.Regression))
    return attrs.evolve(one, **{"model": "a", "target": "cpu", "severity": "major", **changes})


def held(gateway: servers.Pushgateway, name: str) -> dict[tuple[str, str], float]:
    """Return the values of a metric by pipeline and model."""
    return {
        (one["labels"].get("pipeline", ""), one["labels"].get("model", "")): float(one["value"])
        for group in gateway.json("/api/v1/metrics")["data"]
        for one in group.get(name, {}).get("metrics", [])
    }


SUCCESS = "accelerate_measurement_success"


def test_a_run_replaces_what_the_last_one_of_its_pipeline_left(
    push: Pushgateway, pushgateway: servers.Pushgateway
) -> None:
    a, b = samples.measurement(text="a"), samples.measurement(text="b")
    push.deliver(run(a, b))
    push.deliver(run(a, name="other.toml"))
    assert set(held(pushgateway, SUCCESS)) == {
        ("a.toml", "a"),
        ("a.toml", "b"),
        ("other.toml", "a"),
    }
    # The second run measures one model, without its memory; whatever it has not, is gone.
    push.deliver(run(attrs.evolve(a, memory_bytes=None)))
    assert set(held(pushgateway, SUCCESS)) == {("a.toml", "a"), ("other.toml", "a")}
    assert set(held(pushgateway, "accelerate_measurement_memory_bytes")) == {("other.toml", "a")}
    group = pushgateway.json("/api/v1/metrics")["data"][0]["labels"]
    assert group["job"] == "accelerate" and group["instance"] == "bench-1"


def test_pushing_again_changes_nothing(push: Pushgateway, pushgateway: servers.Pushgateway) -> None:
    def everything() -> tuple[int, dict[str, Any]]:
        groups = len(pushgateway.json("/api/v1/metrics")["data"])
        return groups, {name: held(pushgateway, name) for name in GAUGES}

    told = run(samples.measurement(), samples.mismatch())
    push.deliver(told)
    push.deliver(regression())
    before = everything()
    push.deliver(told)
    push.deliver(regression())
    assert everything() == before and before[0] == 2 and all(before[1].values())


def test_an_interrupted_run_wipes_nothing_out(
    push: Pushgateway, pushgateway: servers.Pushgateway
) -> None:
    push.deliver(run(samples.measurement(text="a"), samples.measurement(text="b")))
    push.deliver(run(samples.measurement(text="a"), is_interrupted=True))
    assert len(held(pushgateway, SUCCESS)) == 2


def test_a_regression_outlives_runs_until_it_is_fixed(
    push: Pushgateway, pushgateway: servers.Pushgateway
) -> None:
    name = "accelerate_regression_severity"
    push.deliver(regression())
    push.deliver(run(samples.measurement()))
    assert held(pushgateway, name) == {("", "a"): 2}
    push.deliver(regression(status="fixed", id="r-7", cause="a commit"))
    assert held(pushgateway, name) == {("", "a"): 0}
    groups = pushgateway.json("/api/v1/metrics")["data"]
    assert sum(name in group for group in groups) == 1, "the same series, not one more"


def test_a_second_measurement_of_a_cell_counts(
    push: Pushgateway, pushgateway: servers.Pushgateway
) -> None:
    first = samples.measurement(latency_ms=99.0)
    again = samples.measurement(2, latency_ms=11.0, cell=first.cell, again_of=first.id)
    push.deliver(run(again, first))
    assert [*held(pushgateway, "accelerate_measurement_latency_seconds").values()] == [0.011]


@pytest.mark.parametrize("text", [*samples.HOSTILE, "a/b/../c?d#e%2f", "x" * 10_000])
def test_any_words_are_a_group_and_a_label(
    push: Pushgateway, pushgateway: servers.Pushgateway, text: str
) -> None:
    push.deliver(run(samples.measurement(text=text), name=text))
    push.deliver(regression(model=text))
    [(pipeline, model)] = held(pushgateway, SUCCESS)
    assert pipeline == model and model.isprintable() and 0 < len(model) <= 200
    assert [*held(pushgateway, "accelerate_regression_severity")] == [("", model)]


def test_a_metric_that_another_job_pushes_as_something_else_is_said(
    push: Pushgateway, pushgateway: servers.Pushgateway
) -> None:
    text = f"# TYPE {SUCCESS} counter\n{SUCCESS} 1\n".encode()
    pushgateway.call("PUT", "/metrics/job/another", text)
    with pytest.raises(ConnectorError) as caught:
        push.deliver(run(samples.measurement()))
    assert caught.value.info.retryable is False and SUCCESS in caught.value.info.message
    assert caught.value.info.hint and "another job" in caught.value.info.hint


def test_what_is_no_pushgateway_is_named(prometheus: servers.Prometheus) -> None:
    made = Pushgateway(PushgatewaySettings(url=prometheus.url))
    [problem] = made.check()
    made.close()
    assert "answered 404" in problem and "not to Prometheus" in problem


def test_a_wrong_password_is_named_and_never_shown(tmp_path: Path) -> None:
    (tmp_path / "web.yml").write_text(servers.LOCKED)
    with servers.pushgateway_in(tmp_path, "--web.config.file=web.yml") as locked:
        url = locked.url
        right = Pushgateway(_as("right-password", url))
        assert right.check() == []
        right.deliver(run(samples.measurement()))
        wrong = Pushgateway(_as("wrong-password", url))
        [problem] = wrong.check()
        assert "answered 401" in problem and "`password`" in problem
        assert "wrong-password" not in problem
        with pytest.raises(ConnectorError) as caught:
            wrong.deliver(run(samples.measurement()))
        assert caught.value.info.retryable is False
        for one in (right, wrong):
            one.close()


def _as(password: str, url: str) -> PushgatewaySettings:
    return PushgatewaySettings(url=url, username="accelerate", password=Secret(password))
