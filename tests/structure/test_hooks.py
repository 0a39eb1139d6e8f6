# SPDX-License-Identifier: Apache-2.0
"""Every hook is called: by a plugin here that its kit tries, by a test, or by what stands below."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any, ClassVar

import pytest
from accelerate_browser.hookspecs import ENGINES, LAUNCHERS
from accelerate_chaos.hookspecs import FAULTS
from accelerate_ci.hookspecs import PROVIDERS
from accelerate_insights.hookspecs import DETECTORS
from accelerate_plan.hookspecs import KERNELS

from accelerate_core import hookimpl
from accelerate_core.assembly import Assembly, assemble
from accelerate_core.config import parse
from accelerate_core.delivering import FOR_PEOPLE
from accelerate_core.errors import ConnectorError
from accelerate_core.events import EVENT_TYPES, Event
from accelerate_core.hookspecs import CORE_FAMILIES
from accelerate_core.host import Host
from accelerate_core.protocols import Migration, TableSet
from accelerate_core.testing.samples import every_event

HOOKS = [
    name
    for family in (*CORE_FAMILIES, LAUNCHERS, ENGINES, KERNELS, FAULTS, DETECTORS, PROVIDERS)
    for name, function in vars(importlib.import_module(family.specs)).items()
    if hasattr(function, "accelerate_spec")
]


def test_lifecycle_hooks_are_the_event_types() -> None:
    from accelerate_core.hookspecs import lifecycle

    hooks = {name for name in vars(lifecycle) if callable(getattr(lifecycle, name))}
    assert hooks - {"hookspec"} == set(EVENT_TYPES)


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_implemented_somewhere(hook: str, tracked: list[Path], root: Path) -> None:
    """Create hooks run in the kits; lifecycle hooks and tables in the tests below."""
    implemented = re.compile(rf"@hookimpl\n +def {hook}\(")
    sources = [
        path
        for path in tracked
        if path.suffix == ".py" and {"src", "tests", "testing"} & set(path.relative_to(root).parts)
    ]
    assert hook in EVENT_TYPES or any(implemented.search(path.read_text()) for path in sources)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(cache_dir=tmp_path / "cache", state_dir=tmp_path / "state")


def test_a_listener_is_told_of_every_event(host: Host) -> None:
    told: list[tuple[str, Any]] = []

    def hook(kind: str) -> Any:
        return hookimpl(lambda self, event: told.append((kind, event)), specname=kind)

    hooks = {f"on_{kind}": hook(kind) for kind in EVENT_TYPES}
    host.add("listeners", "spy", type("Spy", (), {"name": "spy", **hooks}))
    events = every_event()
    with assemble(parse({}), host) as assembly:
        for event in events:
            assembly.bus.send(event)
    assert told == [(event.kind, event) for event in events]
    assert {kind for kind, _ in told} == set(EVENT_TYPES)


class Pager:
    """A connector that keeps what it is told."""

    name = "pager"
    made: ClassVar[list[Pager]] = []

    def __init__(self) -> None:
        self.told: list[str] = []
        self.is_closed = False

    @hookimpl
    def connector_create(self) -> Pager:
        Pager.made.append(made := Pager())
        return made

    def check(self) -> None: ...

    def deliver(self, event: Event) -> None:
        self.told.append(event.kind)

    def close(self) -> None:
        self.is_closed = True


def tell(assembly: Assembly) -> None:
    """Tell of everything, as a run does: results through the outbox, all on the bus."""
    for event in every_event():
        assembly.dispatcher.storing(lambda event=event: (event,))
        assembly.bus.send(event)
    assembly.bus.flush()
    assembly.dispatcher.settle()


def test_connectors_are_told_of_what_they_asked_for_and_closed(host: Host) -> None:
    host.add("connectors", "pager", Pager)
    tables = [{"use": "pager", "on": ["cell_started", "run_failed"]}, {"use": "pager"}]
    with assemble(parse({"connectors": tables}), host) as assembly:
        tell(assembly)
    picky, usual = Pager.made
    assert picky.told == ["run_failed", "cell_started"]
    # A notification is for those it names, and it names others.
    assert set(usual.told) == set(FOR_PEOPLE) - {"notification"}
    assert picky.is_closed and usual.is_closed


class Gauge(Pager):
    """A connector that shows what is, and keeps nothing."""

    name = "gauge"
    is_live = True
    kinds = ("metrics_recorded", "worker_started")

    @hookimpl
    def connector_create(self) -> Pager:
        Pager.made.append(made := Gauge())
        return made


def test_a_live_connector_is_told_at_once_and_nothing_is_kept_for_it(host: Host) -> None:
    host.add("connectors", "gauge", Gauge)
    with assemble(parse({"connectors": [{"use": "gauge"}]}), host) as assembly:
        tell(assembly)
        assert not assembly.dispatcher.kinds
    assert Pager.made[-1].told == ["worker_started", "metrics_recorded"]


class Unreachable(Pager):
    """A connector whose other side does not answer."""

    name = "unreachable"

    @hookimpl
    def connector_create(self) -> Pager:
        return Unreachable()

    def deliver(self, event: Event) -> None:
        raise ConnectorError("nobody answers", where="unreachable", retryable=True)


def test_a_message_that_cannot_be_delivered_hurts_nobody(host: Host) -> None:
    host.add("connectors", "unreachable", Unreachable)
    with assemble(parse({"connectors": [{"use": "unreachable"}]}), host) as assembly:
        tell(assembly)
        (problem,) = assembly.dispatcher.problems()
    assert problem.startswith("unreachable: not delivered yet: nobody answers")


class WithTables:
    """A listener that keeps joules in whichever store there is."""

    name = "energy"

    @hookimpl
    def store_tables(self) -> list[TableSet]:
        migration = Migration(version=1, sql="CREATE TABLE energy_samples (joules DOUBLE);")
        return [TableSet(namespace="energy", migrations=(migration,))]


def test_a_plugins_tables_are_in_the_store(host: Host, tmp_path: Path) -> None:
    host.add("listeners", "energy", WithTables)
    config = parse({"store": {"use": "duckdb", "path": str(tmp_path / "results.duckdb")}})
    with assemble(config, host) as assembly:
        with assembly.store.transaction() as transaction:
            transaction.execute("INSERT INTO energy_samples VALUES (?)", [2.5])
        assert assembly.store.query("SELECT joules FROM energy_samples").rows == ((2.5,),)
