# SPDX-License-Identifier: Apache-2.0
"""Hooks that are asked of all loaded plugins at once: what each adds to a store, a run, a text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .errors import AccelerateError, ConfigError, PluginError, Unsupported
from .events import EVENT_TYPES, Attachment, Event
from .protocols import Context, DoctorCheck, Records, Store, TableSet
from .types import RunSummary

if TYPE_CHECKING:
    import pluggy


class Asking:
    """The part of a host that asks everybody."""

    context: Context
    _manager: pluggy.PluginManager

    def collect(self, family: str) -> tuple[str, ...]:
        """Load every plugin of a family and return their names."""
        raise NotImplementedError

    def tables(self) -> tuple[TableSet, ...]:
        """Return the tables loaded plugins contribute to the store."""
        self.collect("listeners")
        return tuple(
            table for answer in self._manager.hook.store_tables() for table in answer or ()
        )

    def performance_report(self, store: Records, days: float, output_format: str) -> bytes:
        """Return a report about the last `days`; ConfigError where no plugin makes any."""
        self.collect("listeners")
        hook = self._manager.hook.performance_report
        made: bytes | None = guard(
            "the report about several runs",
            lambda: hook(store=store, days=days, output_format=output_format, ctx=self.context),
        )
        if made is None:
            raise ConfigError(
                "no installed plugin reports about several runs",
                where="--days",
                hint="pip install accelerate-insights",
            )
        return made

    def run_notes(self, summary: RunSummary, store: Records) -> tuple[str, ...]:
        """Return what plugins say of a stored run against its history.

        One that fails says that it did: the run's own numbers do not depend on it.
        """
        self.collect("listeners")
        hook = self._manager.hook.run_notes
        try:
            answers = guard("run_notes", lambda: hook(summary=summary, store=store))
        except AccelerateError as error:
            return (f"What changed cannot be said: {error.info.message}",)
        return tuple(note for answer in answers for note in answer or ())

    def run_metadata(self) -> dict[str, Any]:
        """Return what plugins know of where this process runs; one that fails is logged."""
        self.collect("listeners")
        try:
            answers = guard("run_metadata", self._manager.hook.run_metadata)
        except AccelerateError as error:
            self.context.log.warning("where this runs is not known: %s", error)
            return {}
        return {name: value for answer in answers for name, value in (answer or {}).items()}

    def attachments(self, event: Event, store: Store) -> tuple[Attachment, ...]:
        """Return files that show an event; a message goes without those that fail."""
        self.collect("listeners")
        hook = self._manager.hook.event_attachments
        try:
            answers = guard("event_attachments", lambda: hook(event=event, store=store))
        except AccelerateError as error:
            self.context.log.warning("no picture of %s: %s", event.key, error)
            return ()
        return tuple(one for answer in answers for one in answer or ())

    def scheduler_history(self, scheduler: Any, store: Store, run_id: str) -> Mapping[str, Any]:
        """Return the history a scheduler wants (`reads_history`); empty where there is none.

        It is an advantage, no condition: what fails is logged.
        """
        if not getattr(scheduler, "reads_history", False):
            return {}
        self.collect("listeners")
        hook = self._manager.hook.scheduler_history
        try:
            return guard("scheduler_history", lambda: hook(store=store, run_id=run_id)) or {}
        except Unsupported:
            return {}  # a store that keeps nothing
        except AccelerateError as error:
            self.context.log.warning("no history for the scheduler: %s", error)
            return {}

    def store_listeners(self, store: Store) -> Sequence[Mapping[str, Callable[[Any], None]]]:
        """Return what plugins call with events to keep something of them, by kind of event."""
        self.collect("listeners")
        self.collect("analyses")
        made: list[Mapping[str, Callable[[Any], None]]] = guard(
            "store_listener", lambda: self._manager.hook.store_listener(store=store)
        )
        return made

    def doctor_checks(self) -> tuple[DoctorCheck, ...]:
        """Return the checks of the loaded backends."""
        answers = self._manager.hook.doctor_checks(ctx=self.context)
        return tuple(check for answer in answers for check in answer or ())

    def listeners(self) -> Mapping[str, Mapping[str, Callable[..., Any]]]:
        """Return each loaded plugin that listens, with its lifecycle hooks by event kind."""
        found: dict[str, dict[str, Callable[..., Any]]] = {}
        for kind in EVENT_TYPES:
            for one in getattr(self._manager.hook, kind).get_hookimpls():
                found.setdefault(one.plugin_name, {})[kind] = one.function
        return found


def guard(who: str, call: Callable[[], Any]) -> Any:
    """Call into a plugin; what is not a typed error becomes a PluginError that names it."""
    try:
        return call()
    except AccelerateError:
        raise
    except Exception as error:
        raise PluginError(
            f"failed with {type(error).__name__}: {error}",
            where=who,
            hint="This is a bug of the plugin; --debug shows where.",
        ) from error
