# SPDX-License-Identifier: Apache-2.0
"""From a configuration to live objects. What is wrong with it is raised before any is started."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from .config import Config, PluginTable
from .delivering.dispatcher import FOR_PEOPLE, Dispatcher, Route
from .durable.keeper import StoryKeeper
from .errors import AccelerateError, ConfigError, did_you_mean
from .events import (
    EVENT_TYPES,
    Event,
    JobFinished,
    MeasurementStored,
    Regression,
    RunFailed,
    RunFinished,
    RunStarted,
)
from .host import Host
from .memory_store import MemoryStore
from .observers import Bus
from .protocols import Analysis, Backend, Connector, Recovery, Report, Scheduler, Store
from .types import Target

_log = logging.getLogger("accelerate.assembly")

#: Tables of a pipeline file, and the family whose plugins they set up.
TABLES = {
    "backends": "backends",
    "schedulers": "schedulers",
    "recovery": "recovery",
    "sources": "models",
    "listeners": "listeners",
    "analyses": "analyses",
}


#: What the pipeline puts into the outbox itself, in the transaction that stores it.
_STORED_TOGETHER = frozenset(
    one.kind for one in (RunStarted, MeasurementStored, Regression, RunFinished, RunFailed)
)


@attrs.frozen(kw_only=True)
class Assembly:
    """Hold what a run works with."""

    backends: Mapping[str, Backend]
    scheduler: Scheduler | None
    recovery: Recovery | None
    store: Store
    reports: Mapping[str, Report]
    analyses: Mapping[str, Analysis]
    bus: Bus
    dispatcher: Dispatcher


def make_host(
    config: Config, *, cache_dir: Path | None = None, state_dir: Path | None = None
) -> Host:
    """Return a host set up as the configuration says; nothing is loaded yet."""
    return Host(
        cache_dir=cache_dir,
        state_dir=state_dir,
        disabled=config.disabled,
        settings=config.plugin_settings(),
        where=config.path,
    )


def check_tables(config: Config, host: Host) -> None:
    """Check every table of plugin settings, also of plugins this run does not use."""
    for word, family in TABLES.items():
        for name, table in getattr(config, word).items():
            host.check_settings(family, name, table, where=f"{config.path} [{word}.{name}]")


def make_backends(config: Config, host: Host, targets: set[Target]) -> dict[str, Backend]:
    """Return the backends that the targets name. They start nothing yet."""
    backends: dict[str, Backend] = {}
    for name in sorted({target.backend for target in targets}):
        table = dict(config.backends.get(name, {}))
        where = f"{config.path} [backends.{name}]"
        # Pool-wide options go to every backend that knows them; its own table wins.
        host.plugin("backends", name, where=f"{config.path} target {name!r}")
        if host.takes("backends", name, "headless"):
            table.setdefault("headless", config.pool.headless)
        backends[name] = host.create("backends", name, table, where=where)
    return backends


@contextlib.contextmanager
def assemble(config: Config, host: Host) -> Iterator[Assembly]:
    """Create every object the configuration names; close store and observers at the end."""
    check_tables(config, host)
    backends = make_backends(config, host, used_targets(config, host))
    scheduler = make_scheduler(config, host)
    recovery = make_recovery(config, host)
    reports = {
        name: host.create("reports", table.use, table.settings, where=where)
        for name, table, where in _instances(config, "reports", config.reports)
    }
    analyses = make_analyses(config, host)
    connectors = make_connectors(config, host)
    # The store comes last: it is the first thing that touches the disk.
    with contextlib.ExitStack() as stack:
        store = make_store(config, host)
        stack.callback(store.close)
        bus = make_bus(host, store)
        dispatcher = make_dispatcher(host, store, connectors, bus)
        for connector, _ in connectors.values():
            stack.callback(_close, connector)
        stack.callback(dispatcher.close)
        stack.callback(bus.close)
        dispatcher.start()
        yield Assembly(
            backends=backends,
            scheduler=scheduler,
            recovery=recovery,
            store=store,
            reports=reports,
            analyses=analyses,
            bus=bus,
            dispatcher=dispatcher,
        )


def make_connectors(config: Config, host: Host) -> dict[str, tuple[Connector, PluginTable]]:
    """Return every connector with its table, by id. They connect to nothing yet."""
    connectors: dict[str, tuple[Connector, PluginTable]] = {}
    places: dict[str, str] = {}
    for name, table, where in _instances(config, "connectors", config.connectors):
        for kind in table.on:
            if kind not in EVENT_TYPES:
                raise ConfigError(
                    f"no event is called {kind!r}",
                    where=f"{where} key on",
                    accepted=tuple(EVENT_TYPES),
                    hint=did_you_mean(kind, EVENT_TYPES),
                )
        made = host.create("connectors", table.use, table.settings, where=where)
        connectors[name], places[name] = (made, table), where
    for name, (made, _) in connectors.items():
        if meet := getattr(made, "meet", None):
            others = {other: one for other, (one, _) in connectors.items() if other != name}
            try:
                meet(name, others)
            except ConfigError as error:
                info = attrs.evolve(error.info, where=places[name])
                raise AccelerateError.from_info(info) from None
    if config.store is None:
        for name, (made, _) in connectors.items():
            if (unkept := getattr(made, "unkept", None)) and (lost := unkept()):
                _log.warning("%s: without [store] a run's end loses %s", name, ", ".join(lost))
    return connectors


def kinds_of(connector: Connector, table: PluginTable) -> frozenset[str]:
    """Return the kinds of event that a connector is told of."""
    return frozenset(table.on or getattr(connector, "kinds", FOR_PEOPLE))


def make_dispatcher(
    host: Host, store: Store, connectors: Mapping[str, tuple[Connector, PluginTable]], bus: Bus
) -> Dispatcher:
    """Return who tells the connectors; those that are live hang on the bus itself."""
    routes: dict[str, Route] = {}
    for name, (connector, table) in connectors.items():
        kinds = kinds_of(connector, table)
        if getattr(connector, "is_live", False):
            bus.add(name, connector.deliver, kinds)
        else:
            routes[name] = Route(connector, kinds)
    dispatcher = Dispatcher(store, routes, lambda event: host.attachments(event, store))
    if others := dispatcher.kinds - _STORED_TOGETHER:
        bus.add("outbox", dispatcher.tell, others)
    return dispatcher


def make_bus(host: Host, store: Store) -> Bus:
    """Return a bus with every installed listener on it, and with who keeps stories."""
    host.collect("listeners")
    bus = Bus()
    bus.add("stories", StoryKeeper(store).saw, (JobFinished.kind,))
    for name, hooks in host.listeners().items():
        bus.add(name, functools.partial(_call, hooks), hooks)
    # Memory keeps what reports need, and has no tables.
    for keepers in () if isinstance(store, MemoryStore) else host.store_listeners(store):
        bus.add("store_listener", functools.partial(_keep, keepers), keepers)
    return bus


def used_targets(config: Config, host: Host) -> set[Target]:
    """Return every target the configuration may use, and the native CPU for reference."""
    targets = {
        target
        for benchmark in config.benchmarks
        for target in (*benchmark.targets, *benchmark.fallback)
    }
    if "cpu" in host.names("backends"):
        targets.add(Target("cpu"))
    return targets


def make_scheduler(config: Config, host: Host) -> Scheduler | None:
    """Return the scheduler; None where none is named and `affinity` is not installed."""
    name = config.pool.scheduler
    if name is None and "affinity" in host.names("schedulers"):
        name = "affinity"
    if name is None:
        return None
    table = dict(config.schedulers.get(name, {}))
    host.plugin("schedulers", name, where=f"{config.path} key pool.scheduler")
    if host.takes("schedulers", name, "browser_preferences"):
        table.setdefault("browser_preferences", dict(config.pool.browser_preferences))
    made: Scheduler = host.create(
        "schedulers", name, table, where=f"{config.path} [schedulers.{name}]"
    )
    return made


def make_recovery(config: Config, host: Host) -> Recovery | None:
    """Return the recovery strategy; None where none is wanted, or `immediate` not installed."""
    if not config.pool.enable_fault_tolerance:
        return None
    name = config.pool.recovery
    if name is None and "immediate" in host.names("recovery"):
        name = "immediate"
    if name is None:
        return None
    host.plugin("recovery", name, where=f"{config.path} key pool.recovery")
    made: Recovery = host.create(
        "recovery", name, config.recovery.get(name), where=f"{config.path} [recovery.{name}]"
    )
    return made


def make_analyses(config: Config, host: Host) -> dict[str, Analysis]:
    """Return every installed analysis; none where there is no store that remembers."""
    if config.store is None:
        return {}
    return {
        name: host.create(
            "analyses", name, config.analyses.get(name), where=f"{config.path} [analyses.{name}]"
        )
        for name in host.collect("analyses")
    }


def make_store(config: Config, host: Host) -> Store:
    """Open the configured store, or one in memory."""
    if config.store is None:
        return MemoryStore()
    made: Store = host.create(
        "stores",
        config.store.use,
        config.store.settings,
        where=f"{config.path} [store]",
        tables=host.tables(),
    )
    return made


def _instances(
    config: Config, family: str, tables: tuple[PluginTable, ...]
) -> Iterator[tuple[str, PluginTable, str]]:
    """Yield id, table and place of each instance; ids are unique ("slack", "slack#2")."""
    seen: set[str] = set()
    counts: dict[str, int] = {}
    for index, table in enumerate(tables):
        counts[table.use] = number = counts.get(table.use, 0) + 1
        name = table.id or (table.use if number == 1 else f"{table.use}#{number}")
        where = f"{config.path} [[{family}]] number {index + 1} ({table.use})"
        if name in seen:
            raise ConfigError(
                f"two {family} have the id {name!r}",
                where=where,
                hint='Give one another: id = "..."',
            )
        seen.add(name)
        yield name, table, where


def _close(connector: Connector) -> None:
    """Close a connector; what it raises then is no reason to lose a run."""
    try:
        connector.close()
    except Exception as error:
        _log.warning("a connector could not be closed: %s", error)


def _call(hooks: Mapping[str, Callable[..., Any]], event: Event) -> None:
    hooks[event.kind](event=event)


def _keep(keepers: Mapping[str, Callable[[Any], None]], event: Event) -> None:
    keepers[event.kind](event)


def settings_of(host: Host, family: str, name: str) -> tuple[Any, ...]:
    """Return the attrs fields of a plugin's settings, for documentation."""
    kind = getattr(host.plugin(family, name), "settings", None)
    return tuple(kind.__attrs_attrs__) if kind is not None else ()
