# SPDX-License-Identifier: Apache-2.0
"""A pipeline file: TOML to values. Everything wrong with it is said before anything starts."""

from __future__ import annotations

import string
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import attrs

from .errors import ConfigError, did_you_mean
from .pool_config import PoolConfig, Precision, Task, in_our_words
from .sampled import SCENARIOS
from .settings import Seconds, Share, converter, structure
from .types import BROWSERS, Scenario, Target

ScenarioName = Literal["single_stream", "multi_stream", "server", "offline"]
assert ScenarioName.__args__ == SCENARIOS  # type: ignore[attr-defined]


@attrs.frozen
class PluginTable:
    """Hold a table that names a plugin: `use`, and the plugin's own settings beside it."""

    use: str
    settings: Mapping[str, Any] = attrs.field(factory=dict)
    #: Name of this instance; by default the plugin's name, from the second on with a number.
    id: str = ""
    #: Events it is told of; connectors only.
    on: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class ModelConfig:
    """Name a model and say where it comes from."""

    #: What benchmarks and reports call it.
    name: str
    #: Reference with its scheme: `package:...`, `dir:...`, `file:...`.
    source: str
    #: What it does; by default what its own files say.
    task: Task | None = None


@attrs.frozen(kw_only=True)
class BenchmarkConfig:
    """Ask for a matrix: every model on every target, precision and batch size."""

    #: Names of models; all of them when left out.
    models: tuple[str, ...] = ()
    #: Where to run: `backend[/engine][:browser]`; `*` stands for every browser found.
    targets: tuple[Target, ...]
    #: Items in one request; a cell for each.
    batch_sizes: tuple[int, ...] = (1,)
    #: Tokens per item, for text models; left out, 32 or as many as the model takes.
    sequence_length: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.ge(1))
    )
    #: What the model's weights are stored as; a cell for each.
    precisions: tuple[Precision, ...] = ("fp32",)
    #: How requests arrive: a name or an array of them; a cell for each.
    scenario: tuple[ScenarioName, ...] = ("single_stream",)
    #: Requests at once, for multi_stream.
    streams: int = attrs.field(default=8, validator=attrs.validators.ge(2))
    #: Requests a second, for server; "max" looks for the highest that keeps the bound.
    rate: float | Literal["max"] | None = None
    #: How late an answer may be, for server: it holds when 99 % are in time.
    latency_bound: Seconds | None = None
    #: Timed runs per cell: samples of the streams, requests of server (at each rate) and offline.
    #: With an `interval` at least so many.
    repeats: int = attrs.field(default=20, validator=attrs.validators.ge(1))
    #: Go on until the 95 % interval of the median lies within this part of it, `"2%"` for ±2 %,
    #: or the budget ends. For the streams. (`precisions` are something else: of weights.)
    interval: Share | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.gt(Share(0.0)))
    )
    #: Runs before the timed ones.
    warmup: int = attrs.field(default=1, validator=attrs.validators.ge(0))
    #: Time for the timed runs of a cell; at least 3 are made, and the row says how many. Where
    #: the highest rate is looked for, time for all that are tried.
    budget: Seconds = Seconds(10.0)
    #: Targets whose absence fails the run; others that are missing are shown.
    required: tuple[Target, ...] = ()
    #: Targets to use, in order, when the asked one is not there. The row says so.
    fallback: tuple[Target, ...] = ()
    #: Largest relative L2 distance to native CPU, by precision; defaults are fp32 1e-3, fp16 2e-2,
    #: int8 5e-2.
    tolerance: Mapping[Precision, float] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        if not self.batch_sizes or any(size < 1 for size in self.batch_sizes):
            raise ValueError(f"batch_sizes are 1 or more, not {list(self.batch_sizes)}")
        if not self.targets:
            raise ValueError("targets: at least one is needed")
        if not self.scenario:
            raise ValueError("scenario: at least one is needed")
        is_server = "server" in self.scenario
        for name in ("rate", "latency_bound"):
            if (getattr(self, name) is not None) != is_server:
                problem = "needs one" if is_server else "is not asked for, and only it has one"
                raise ValueError(f"{name}: the scenario server {problem}")
        if (self.rate != "max" and self.rate is not None and self.rate <= 0) or (
            self.latency_bound is not None and self.latency_bound <= 0
        ):
            raise ValueError("rate and latency_bound are more than 0")
        if self.interval is not None and not any(one.is_stream for one in self.scenarios()):
            raise ValueError("interval: only single_stream and multi_stream go on for one")

    def scenarios(self) -> tuple[Scenario, ...]:
        """Return the scenarios asked for, once each."""
        rate = None if self.rate == "max" else self.rate
        bound_ms = None if self.latency_bound is None else self.latency_bound * 1e3
        made = {
            "single_stream": Scenario(),
            "multi_stream": Scenario(name="multi_stream", streams=self.streams),
            "server": Scenario(name="server", rate=rate, bound_ms=bound_ms),
            "offline": Scenario(name="offline"),
        }
        return tuple(made[name] for name in dict.fromkeys(self.scenario))


@attrs.frozen(kw_only=True)
class DeliveryConfig:
    """Say what all connectors have in common."""

    #: Where people read more, with `{run_id}` in it; by default the page of the CI job.
    link: str | None = None

    def __attrs_post_init__(self) -> None:
        if self.link is None:
            return
        try:
            parts = list(string.Formatter().parse(self.link))
        except ValueError as error:
            raise ValueError(f"link: {error}; a brace itself is written twice") from None
        for _, field, form, conversion in parts:
            if field is not None and (field != "run_id" or form or conversion):
                raise ValueError(f"link: only {{run_id}} is filled in ({field!r} is not)")


@attrs.frozen(kw_only=True)
class Config:
    """Hold a whole pipeline file."""

    #: What the run is called; by default the file's name.
    name: str = ""
    #: Plugins of collected families (model sources, listeners, analyses) that stay out.
    disabled: tuple[str, ...] = ()
    #: Where measurements are kept; without it they stay in memory.
    store: PluginTable | None = None
    pool: PoolConfig = PoolConfig()
    models: tuple[ModelConfig, ...] = ()
    benchmarks: tuple[BenchmarkConfig, ...] = ()
    reports: tuple[PluginTable, ...] = ()
    connectors: tuple[PluginTable, ...] = ()
    delivery: DeliveryConfig = DeliveryConfig()
    #: Settings by plugin name: `[backends.cpu]`, `[schedulers.affinity]`, ...
    backends: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    schedulers: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    recovery: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    sources: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    listeners: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    analyses: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    #: File it came from, for messages.
    path: str = attrs.field(default="configuration", init=False)

    def model(self, name: str) -> ModelConfig:
        """Return a model by name."""
        return next(model for model in self.models if model.name == name)

    def plugin_settings(self) -> dict[str, Mapping[str, Any]]:
        """Return the tables of collected plugins, as "family.name"."""
        return {
            f"{family}.{name}": table
            for family in ("sources", "listeners")
            for name, table in getattr(self, family).items()
        }


def _plugin_table(value: Any, _: Any) -> PluginTable:
    if not isinstance(value, Mapping):
        raise ValueError('a table with `use = "NAME"` is expected')
    rest = {key: one for key, one in value.items() if key not in ("use", "id", "on")}
    if "use" not in value:
        raise ValueError('`use = "NAME"` is missing: which plugin?')
    return PluginTable(
        converter.structure(value["use"], str),
        rest,
        converter.structure(value.get("id", ""), str),
        converter.structure(value.get("on", ()), tuple[str, ...]),
    )


converter.register_structure_hook(PluginTable, _plugin_table)


def load(path: Path) -> Config:
    """Read a pipeline file; ConfigError names file, line or key, and what is accepted."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            "no such file", where=str(path), hint="Write one: accel init MODEL"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", where=str(path)) from None
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not valid TOML: {error}", where=str(path)) from None
    return parse({"name": path.stem, **data}, where=str(path))


def parse(data: Mapping[str, Any], *, where: str = "configuration") -> Config:
    """Return the configuration made from TOML data, checked as far as no plugin is needed."""
    data = _synonyms(data, where)
    config = structure(data, Config, where=where)
    object.__setattr__(config, "path", where)
    names = [model.name for model in config.models]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ConfigError(f"two models are called {min(twice)!r}", where=f"{where} [[models]]")
    for index, benchmark in enumerate(config.benchmarks):
        key = f"{where} key benchmarks[{index}]"
        for name in benchmark.models:
            if name not in names:
                raise ConfigError(
                    f"no model is called {name!r}",
                    where=f"{key}.models",
                    accepted=names or ["none is defined"],
                    hint=did_you_mean(name, names),
                )
        for target in benchmark.required:
            if not any(asked.covers(target) for asked in benchmark.targets):
                raise ConfigError(
                    f"{target} is required and not among the targets",
                    where=f"{key}.required",
                    accepted=[str(asked) for asked in benchmark.targets],
                )
        for field in ("targets", "required", "fallback"):
            _check_browsers(getattr(benchmark, field), f"{key}.{field}")
        _check_fallback(benchmark.fallback, f"{key}.fallback")
    _check_browsers(config.pool.fallback, f"{where} key pool.fallback")
    _check_fallback(config.pool.fallback, f"{where} key pool.fallback")
    return config


def _check_browsers(targets: Sequence[Target], where: str) -> None:
    for target in targets:
        if target.backend in BROWSERS:
            ways = [f"{backend}:{target.backend}" for backend in ("wasm", "webgpu", "webnn")]
            raise ConfigError(
                f"{str(target)!r} names a browser where a backend belongs",
                where=where,
                accepted=("cpu", *ways, "..."),
                hint=f"Did you mean {ways[1]!r}?",
            )
        if target.browser not in (None, "*", *BROWSERS):
            raise ConfigError(
                f"{target.browser!r} is no browser",
                where=where,
                accepted=("*", *BROWSERS),
                hint=did_you_mean(target.browser or "", BROWSERS),
            )


def _check_fallback(targets: Sequence[Target], where: str) -> None:
    for target in targets:
        if target.is_pattern:
            raise ConfigError(
                f"{target}: a fallback names one browser",
                where=where,
                accepted=[f"{target.backend}:{browser}" for browser in BROWSERS],
            )


def _synonyms(data: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Map the words users already know to ours, once."""
    data = dict(data)
    pool = data.get("pool")
    if isinstance(pool, Mapping):
        pool = in_our_words(pool, where=where)
        if "db_path" in pool:
            data.setdefault("store", {"use": "duckdb", "path": pool.pop("db_path")})
        data["pool"] = pool
    benchmarks = data.get("benchmarks")
    if isinstance(benchmarks, list | tuple):
        data["benchmarks"] = [_one_scenario(one) for one in benchmarks]
    return data


def _one_scenario(benchmark: Any) -> Any:
    if isinstance(benchmark, Mapping) and isinstance(benchmark.get("scenario"), str):
        return {**benchmark, "scenario": [benchmark["scenario"]]}
    return benchmark
