# SPDX-License-Identifier: Apache-2.0
"""Configuration: what is wrong is said, where it stands, before anything starts."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelerate_core import config, pool_config
from accelerate_core.assembly import make_recovery
from accelerate_core.errors import AccelerateError, ConfigError, Unsupported
from accelerate_core.fleet.settings import SECOND, BreakerSettings, FleetSettings, Window
from accelerate_core.host import Host
from accelerate_core.secrets import Secret
from accelerate_core.settings import Seconds, structure
from accelerate_core.types import Scenario, Target

GOOD: dict[str, Any] = {
    "models": [{"name": "m", "source": "file:x.onnx"}],
    "benchmarks": [{"targets": ["cpu", "wasm:*"], "required": ["wasm:firefox"], "budget": "3s"}],
    "pool": {"browser_preferences": {"vision": "chrome"}, "max_connections": 2},
    "store": {"use": "duckdb", "path": "r.duckdb"},
    "reports": [{"use": "html", "path": "a.html"}, {"use": "html", "path": "b.html"}],
}


def test_a_good_file_becomes_values() -> None:
    made = config.parse(GOOD)
    assert made.benchmarks[0].targets == (Target("cpu"), Target("wasm", None, "*"))
    assert made.benchmarks[0].budget == 3.0
    assert made.store == config.PluginTable("duckdb", {"path": "r.duckdb"})
    assert made.pool.browser_preferences == {"vision": "chrome"}


@pytest.mark.parametrize(
    ("change", "where", "says"),
    [
        ({"benchmarkz": []}, "benchmarkz", "Did you mean 'benchmarks'?"),
        ({"pool": {"max_connection": 3}}, "pool.max_connection", "'max_connections'"),
        ({"benchmarks": [{"tragets": ["cpu"]}]}, "benchmarks[0].tragets", "'targets'"),
        ({"pool": {"max_connections": "3"}}, "pool.max_connections", "an integer"),
        ({"pool": {"max_connections": True}}, "pool.max_connections", "an integer"),
        ({"pool": {"max_connections": 0}}, "pool.max_connections", ">= 1"),
        ({"pool": {"min_connections": 5}}, "pool", "min_connections is 5, and max_connections"),
        ({"pool": {"redundancy_factor": 9}}, "pool", "redundancy_factor is 9"),
        ({"pool": {"memory_limit": "4 lots"}}, "pool.memory_limit", '"4GiB"'),
        ({"pool": {"memory_limit": 0}}, "pool.memory_limit", ">= 1"),
        ({"pool": {"max_jobs_per_worker": 0}}, "pool.max_jobs_per_worker", ">= 1"),
        ({"pool": {"fallback": ["wasm:*"]}}, "pool.fallback", "one browser"),
        ({"pool": {"fallback": ["wasm:fierfox"]}}, "pool.fallback", "firefox"),
        ({"pool": {"degrade": ["int5"]}}, "pool.degrade[0]", "int4, int3"),
        ({"pool": {"recovery": "a", "failover_strategy": "b"}}, "pool.failover", "mean the same"),
        ({"pool": {"recovery": "a", "enable_fault_tolerance": False}}, "pool", "leave one out"),
        ({"pool": {"breaker": {"failure_rate": 50}}}, "pool.breaker.failure_rate", "<= 1"),
        ({"pool": {"breaker": {"probes": 0}}}, "pool.breaker.probes", ">= 1"),
        ({"pool": {"breaker": {"minimum_calls": 30}}}, "pool.breaker", "only 20 are looked at"),
        ({"pool": {"breaker": {"windw": 3}}}, "pool.breaker.windw", "Did you mean 'window'?"),
        ({"pool": {"breaker": {"window_kind": "tme"}}}, "pool.breaker.window_kind", "'time'?"),
        ({"pool": {"breaker": {"wait_open": 0}}}, "pool.breaker.wait_open", ">= 0.001"),
        ({"pool": {"breaker": {"slow_call_duration": 0}}}, "slow_call_duration", ">= 0.001"),
        ({"pool": {"health": {"quarantine_after": 0}}}, "pool.health.quarantine_after", ">= 1"),
        ({"pool": {"health": {"overdue_factor": 0.5}}}, "pool.health.overdue_factor", ">= 1"),
        ({"pool": {"health": {"hung_factor": math.inf}}}, "pool.health.hung_factor", "finite"),
        ({"pool": {"health": {"hung_floor": "5ms"}}}, "pool.health", "hung_floor only 0.005"),
        ({"pool": {"health": {"quarantine_time": "1h"}}}, "pool.health", "quarantine_longest only"),
        ({"pool": {"idle_timeout": math.nan}}, "pool.idle_timeout", '"10s"'),
        ({"pool": {"max_age": 0}}, "pool.max_age", ">= 0.001"),
        ({"pool": {"browser_preferences": {"visio": "chrome"}}}, "visio", "'vision'"),
        ({"pool": {"browser_preferences": {"vision": "chrme"}}}, "vision", "'chrome'"),
        ({"pool": {"job_timeout": "10 parsecs"}}, "pool.job_timeout", '"10s"'),
        ({"models": [{"name": "m"}]}, "models[0].source", "missing"),
        ({"models": {"name": "m"}}, "models", "an array"),
        ({"models": GOOD["models"] * 2}, "[[models]]", "two models are called 'm'"),
        ({"benchmarks": [{"targets": []}]}, "benchmarks[0]", "at least one"),
        ({"benchmarks": [{"targets": ["cpu:"]}]}, "benchmarks[0].targets[0]", "not a target"),
        ({"benchmarks": [{"targets": ["wasm:netscape"]}]}, "targets", "firefox"),
        ({"benchmarks": [{"targets": ["cpu"], "models": ["n"]}]}, "models", "no model is called"),
        ({"benchmarks": [{"targets": ["cpu"], "required": ["wasm:*"]}]}, "required", "among"),
        ({"benchmarks": [{"targets": ["cpu"], "fallback": ["wasm:*"]}]}, "fallback", "one browser"),
        ({"benchmarks": [{"targets": ["cpu"], "batch_sizes": [0]}]}, "benchmarks[0]", "1 or more"),
        ({"benchmarks": [{"targets": ["cpu"], "precisions": ["fp31"]}]}, "precisions[0]", "'fp32'"),
        *(
            ({"benchmarks": [{"targets": ["cpu"], **wrong}]}, f"benchmarks[0]{where}", says)
            for wrong, where, says in (
                ({"scenario": "sever"}, ".scenario[0]", "Did you mean 'server'?"),
                ({"scenario": ["offline", 3]}, ".scenario[1]", "single_stream"),
                ({"scenario": []}, "", "at least one"),
                ({"scenario": "server", "latency_bound": "1s"}, "", "rate: the scenario server"),
                ({"scenario": "server", "rate": 3}, "", "latency_bound: the scenario server needs"),
                ({"scenario": "server", "rate": "mx", "latency_bound": 1}, ".rate", "max"),
                ({"scenario": "server", "rate": -1, "latency_bound": 1}, "", "more than 0"),
                ({"scenario": "server", "rate": 1, "latency_bound": 0}, "", "more than 0"),
                ({"rate": 3}, "", "is not asked for"),
                ({"streams": 1}, ".streams", ">= 2"),
                ({"interval": "2 percent"}, ".interval", '"2%"'),
                ({"interval": 0}, ".interval", "> 0"),
                ({"interval": -0.1}, ".interval", "not a share"),
                ({"interval": "2%", "scenario": "offline"}, "", "only single_stream"),
            )
        ),
        ({"reports": [{"path": "x"}]}, "reports[0]", "use"),
        ({"store": 3}, "store", "table"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], where: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.parse({**GOOD, **change}, where="p.toml")
    assert caught.value.info.where and caught.value.info.where.startswith("p.toml")
    assert where in caught.value.info.where
    assert says in str(caught.value)


def test_scenarios_are_a_name_or_several_and_an_interval_is_a_share() -> None:
    server = {"rate": "max", "latency_bound": "50ms"}
    one, several = (
        config.parse({"benchmarks": [{"targets": ["cpu"], "scenario": said, **more}]}).benchmarks[0]
        for said, more in (
            ("multi_stream", {"interval": "2.5%", "streams": 4}),
            (["offline", "server", "offline"], server),
        )
    )
    assert one.scenarios() == (Scenario(name="multi_stream", streams=4),)
    assert one.interval == 0.025
    assert several.scenarios() == (
        Scenario(name="offline"),
        Scenario(name="server", rate=None, bound_ms=50.0),
    )
    assert config.BenchmarkConfig(targets=(Target("cpu"),)).scenarios() == (Scenario(),)


@pytest.mark.parametrize("name", pool_config.NOT_BUILT)
def test_an_option_that_is_not_built_is_refused_by_name(name: str) -> None:
    with pytest.raises(Unsupported, match=name):
        config.parse({"pool": {name: True}})


def test_words_users_know_are_understood() -> None:
    made = config.parse({"pool": {"recovery_strategy": "immediate", "db_path": "x.duckdb"}})
    assert made.pool.recovery == "immediate"
    assert made.store == config.PluginTable("duckdb", {"path": "x.duckdb"})


def test_the_pool_is_told_to_the_fleet_in_its_units() -> None:
    told = {
        "min_connections": 1,
        "hot_spares": 2,
        "idle_timeout": "1m",
        "max_age": "2h",
        "max_jobs_per_worker": 7,
        "memory_limit": "1.5GiB",
        "max_queue": 3,
        "max_growth": "1GB",
        "refuse_late": True,
        "breaker": {
            "slow_call_duration": "500ms",
            "wait_open": 2,
            "window": 9,
            "window_kind": "time",
        },
        "health": {
            "overdue_factor": 3,
            "overdue_floor": "50ms",
            "hung_factor": 40,
            "hung_floor": "1m",
            "quarantine_after": 5,
            "quarantine_time": "2s",
            "quarantine_longest": "1m",
        },
    }
    made = config.parse({"pool": told}).pool.fleet_settings()
    assert made == FleetSettings(
        max_workers=4,
        min_workers=1,
        hot_spares=2,
        is_adaptive=True,
        idle_ns=60 * SECOND,
        max_age_ns=7200 * SECOND,
        max_jobs_per_worker=7,
        memory_limit_bytes=3 * 2**29,
        max_queue=3,
        max_growth_bytes=10**9,
        refuses_late=True,
        breaker=BreakerSettings(
            slow_call_ns=SECOND // 2, open_ns=2 * SECOND, window=9, window_kind=Window.TIME
        ),
        overdue_factor=3.0,
        overdue_ns=SECOND // 20,
        hung_factor=40.0,
        hung_ns=60 * SECOND,
        quarantine_after=5,
        quarantine_ns=2 * SECOND,
        quarantine_max_ns=60 * SECOND,
    )
    off = config.parse({"pool": {"enable_fault_tolerance": False}})
    assert off.pool.fleet_settings().breaker is None
    assert make_recovery(off, Host()) is None and make_recovery(config.parse({}), Host())


def test_several_faults_are_all_told() -> None:
    with pytest.raises(ConfigError) as caught:
        config.parse({"pool": {"max_connections": "x", "headless": 1}})
    assert "max_connections" in str(caught.value) and "headless" in str(caught.value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["use", "name", "targets", "models", "x"]), inner, max_size=3
            )
        ),
        max_leaves=6,
    ),
    st.sampled_from([*(field.name for field in attrs.fields(config.Config)), "other"]),
)
def test_any_data_is_taken_or_refused_with_a_typed_error(value: Any, key: str) -> None:
    try:
        config.parse({key: value}, where="p.toml")
    except AccelerateError as error:
        assert "p.toml" in (error.info.where or "")


def test_files_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        config.load(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("a = \n")
    with pytest.raises(ConfigError, match=r"line 1"):
        config.load(broken)
    broken.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        config.load(broken)


def test_a_file_names_its_run(tmp_path: Path) -> None:
    path = tmp_path / "nightly.toml"
    path.write_text('[pool]\nscheduler = "affinity"\n')
    assert config.load(path).name == "nightly"


@attrs.frozen
class Settings:
    token: Secret | None = None
    channel: str = ""
    wait: Seconds = Seconds(1.0)


def test_secrets_come_from_the_environment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "s3cret")
    made = structure({"token": "env:TOKEN", "channel": "env:TOKEN"}, Settings, where="x")
    assert made.token is not None and made.token.reveal() == "s3cret"
    assert "s3cret" not in repr(made.token) + str(made.token)
    assert made.channel == "s3cret"
    with pytest.raises(ConfigError, match="stands in the file"):
        structure({"token": "s3cret"}, Settings, where="x")
    with pytest.raises(ConfigError, match="NOT_THERE is not set"):
        structure({"token": "env:NOT_THERE"}, Settings, where="x")


@pytest.mark.parametrize(
    ("text", "size"), [("512MiB", 2**29), ("4 GB", 4 * 10**9), ("0.5KiB", 512), (3, 3)]
)
def test_amounts_of_memory(text: Any, size: int) -> None:
    assert structure({"memory_limit": text}, pool_config.PoolConfig, where="x").memory_limit == size


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("10s", 10), ("2m", 120), ("1.5h", 5400), (3, 3.0)]
)
def test_lengths_of_time(text: Any, seconds: float) -> None:
    assert structure({"wait": text}, Settings, where="x").wait == seconds


@pytest.mark.parametrize(
    "link",
    ["https://x/{run}", "https://x/{", "https://x/{0}", "{run_id.x}", "{run_id:>99}", "{run_id!r}"],
)
def test_a_link_of_messages_takes_a_run_and_nothing_else(link: str) -> None:
    with pytest.raises(ConfigError, match="link: ") as caught:
        config.parse({"delivery": {"link": link}}, where="p.toml")
    assert "p.toml key delivery" in str(caught.value)
    config.parse({"delivery": {"link": "https://x/{run_id}.html"}})
