# SPDX-License-Identifier: Apache-2.0
"""The plugin host: the only owner of a pluggy PluginManager. One host per instance."""

from __future__ import annotations

import importlib
import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import platformdirs
import pluggy

from . import loading
from .asking import Asking, guard
from .assets import AssetStore
from .errors import AccelerateError, ConfigError, ModelError, PluginError, did_you_mean
from .hookspecs import CORE_FAMILIES, Family
from .loading import Found, Problem
from .markers import PROJECT
from .protocols import Context, ModelSource, Records
from .settings import structure
from .types import ModelSpec

_log = logging.getLogger("accelerate.host")


class Host(Asking):
    """Load plugins by name, create their objects, and broadcast events to observers."""

    def __init__(
        self,
        *,
        cache_dir: Path | None = None,
        state_dir: Path | None = None,
        disabled: Iterable[str] = (),
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        where: str = "",
    ) -> None:
        """Make a host that has loaded nothing yet.

        `settings` maps "family.name" to that plugin's table, for collected plugins.
        """
        self._manager = pluggy.PluginManager(PROJECT)
        self._listing = loading.listing()
        # Backends discover in threads, and several may ask for the same launcher at once.
        self._lock = threading.RLock()
        self._families: dict[str, Family] = {}
        self._loaded: dict[tuple[str, str], Any] = {}
        self._collected: set[str] = set()
        self._disabled = frozenset(disabled)
        self._settings = settings or {}
        self._where = where
        self._sources: Mapping[str, ModelSource] | None = None
        self.problems: list[Problem] = []
        for family in CORE_FAMILIES:
            self.add_family(family)
        cache = cache_dir or _folder("ACCELERATE_CACHE_DIR", platformdirs.user_cache_path)
        state = state_dir or _folder("ACCELERATE_STATE_DIR", platformdirs.user_state_path)
        self.context = Context(
            assets=AssetStore(cache / "assets"), cache_dir=cache, state_dir=state, plugins=self
        )

    # --- families and plugins -----------------------------------------------------------------

    @property
    def families(self) -> Mapping[str, Family]:
        """The families known to this host, by name."""
        return self._families

    def add_family(self, family: Family) -> None:
        """Learn a family of hooks; adding the same one twice does nothing."""
        with self._lock:
            known = self._families.get(family.name)
            if known == family:
                return
            if known is not None:
                raise PluginError(
                    f"the family {family.name!r} is already taken by {known.specs}",
                    where=family.specs,
                    hint="Choose another name for the family.",
                )
            self._manager.add_hookspecs(importlib.import_module(family.specs))
            self._families[family.name] = family

    def found(self, family: str) -> Mapping[str, tuple[Found, ...]]:
        """Return what was installed in a family when this host first looked, without disabled ones.

        It imports nothing.
        """
        claims = self._listing.find(self._family(family).group)
        return {name: claim for name, claim in claims.items() if name not in self._disabled}

    def names(self, family: str) -> Sequence[str]:
        """Return the installed plugin names of a family; imports nothing."""
        return tuple(self.found(family))

    def plugin(self, family: str, name: str, *, where: str = "") -> Any:
        """Return the one loaded plugin object, loading it when needed.

        ConfigError for a name nobody has, PluginError for one that is broken or claimed twice.
        """
        with self._lock:
            if (family, name) not in self._loaded:
                self._loaded[family, name] = self._load(family, name, where)
            return self._loaded[family, name]

    def _load(self, family: str, name: str, where: str) -> Any:
        kind = self._family(family)
        found = self.found(family)
        if name not in found:
            raise ConfigError(
                f"no {kind.word or kind.name} is called {name!r}"
                + (" (it is disabled)" if name in self._disabled else ""),
                where=where or None,
                accepted=tuple(found) or ("none is installed",),
                hint=did_you_mean(name, found)
                or f"If it is a plugin of its own, install it: pip install accelerate-{name}",
            )
        if (conflict := loading.conflict(found[name])) is not None:
            raise conflict
        return self._register(kind, name, loading.load(found[name][0]), found[name][0].value)

    def add(self, family: str, name: str, plugin_class: Any) -> None:
        """Register a plugin class directly, for tests and notebooks."""
        kind = self._family(family)
        value = f"{plugin_class.__module__}:{plugin_class.__qualname__}"
        with self._lock:
            if (family, name) in self._loaded:
                raise PluginError(f"{kind.word or family} {name!r} is already loaded")
            self._loaded[family, name] = self._register(kind, name, plugin_class, value)

    def check_settings(
        self, family: str, name: str, table: Mapping[str, Any] | None, *, where: str = ""
    ) -> Any:
        """Return the plugin's settings made from its table; ConfigError when it does not fit."""
        plugin = self.plugin(family, name, where=where)
        kind = getattr(plugin, "settings", None)
        if kind is None:
            if table:
                raise ConfigError(
                    f"{name!r} takes no settings", where=f"{where} key {next(iter(table))}".strip()
                )
            return None
        return structure(table or {}, kind, where=where or f"{family}.{name}")

    def takes(self, family: str, name: str, field: str, *, where: str = "") -> bool:
        """Whether a plugin's settings have a field of that name."""
        kind = getattr(self.plugin(family, name, where=where), "settings", None)
        return kind is not None and any(one.name == field for one in kind.__attrs_attrs__)

    def create(
        self,
        family: str,
        name: str,
        settings: Mapping[str, Any] | None = None,
        *,
        where: str = "",
        **more: Any,
    ) -> Any:
        """Create a plugin's object from its table of settings.

        `more` are further arguments of the family's create hook.
        """
        kind = self._family(family)
        if kind.create is None:
            raise PluginError(f"plugins of the family {family!r} create nothing")
        plugin = self.plugin(family, name, where=where)
        made_settings = self.check_settings(family, name, settings, where=where)
        hook = self._only(kind.create, plugin)
        made = guard(
            f"{kind.word or family} {name!r}",
            lambda: hook(settings=made_settings, ctx=self.context, **more),
        )
        missing = [method for method in kind.provides if not callable(getattr(made, method, None))]
        if made is None or missing:
            what = f"an object without {', '.join(missing)}" if made is not None else "nothing"
            raise PluginError(
                f"{kind.create} returned {what}",
                where=f"{kind.word or family} {name!r}",
                accepted=tuple(f"{method}(...)" for method in kind.provides),
            )
        return made

    def look(self, name: str, settings: Mapping[str, Any], *, where: str = "") -> Records:
        """Return what answers for a store that is there, also while another process writes it."""
        plugin = self.plugin("stores", name, where=where)
        made_settings = self.check_settings("stores", name, settings, where=where)
        hook = self._only("store_look", plugin)
        made: Records = guard(
            f"store {name!r}",
            lambda: hook(settings=made_settings, ctx=self.context, tables=self.tables()),
        )
        return made

    # --- collected hooks ----------------------------------------------------------------------

    def collect(self, family: str) -> tuple[str, ...]:
        """Load every installed plugin of a family and return the names of those that work.

        Broken ones become `problems`.
        """
        with self._lock:
            if family not in self._collected:
                self._collected.add(family)
                for name in self.names(family):
                    self._load_or_note(family, name)
            return tuple(name for of, name in self._loaded if of == family)

    def sources(self) -> Mapping[str, ModelSource]:
        """Return the model sources by scheme, from every installed one."""
        with self._lock:  # models are resolved in threads, several at once
            if self._sources is None:
                self._sources = self._make_sources()
            return self._sources

    def source(self, reference: str) -> ModelSource:
        """Return the source for `scheme:rest`; ModelError for a scheme nobody serves."""
        scheme, colon, _ = reference.partition(":")
        sources = self.sources()
        if not colon or scheme not in sources:
            path = Path(reference).expanduser()
            guess = ("dir" if path.is_dir() else "file") if path.exists() else None
            raise ModelError(
                f"{reference!r} does not start with a known scheme",
                accepted=tuple(f"{one}:..." for one in sorted(sources)) or ("none is installed",),
                hint=f"Did you mean {guess}:{reference}?"
                if guess
                else did_you_mean(scheme, sources)
                or (None if sources else "Install model sources: pip install accelerate-models"),
            )
        return sources[scheme]

    def resolve_model(
        self, reference: str, *, name: str | None = None, precision: str = "fp32"
    ) -> ModelSpec:
        """Return the model a reference names, its assets present."""
        source = self.source(reference)
        spec: ModelSpec = guard(
            f"model source for {reference!r}",
            lambda: source.resolve(reference, name=name or reference, precision=precision),
        )
        return spec

    # --- inside -------------------------------------------------------------------------------

    def _load_or_note(self, family: str, name: str) -> None:
        try:
            self.plugin(family, name)
        except AccelerateError as error:
            problem = error if isinstance(error, PluginError) else PluginError(str(error))
            self.problems.append(Problem(self._family(family).group, name, problem))
            _log.warning("skipped %s %r: %s", family, name, error)

    def _make_sources(self) -> Mapping[str, ModelSource]:
        self.collect("models")
        sources: dict[str, ModelSource] = {}
        owners: dict[str, str] = {}
        for (family, name), plugin in sorted(self._loaded.items(), key=lambda item: item[0]):
            if family != "models":
                continue
            source = self.create(
                "models",
                name,
                self._settings.get(f"sources.{name}"),
                where=f"{self._where} [sources.{name}]",
            )
            for scheme in self._only("model_schemes", plugin)():
                for one in (scheme,) if isinstance(scheme, str) else scheme:
                    if one in owners:
                        raise PluginError(
                            f"the scheme {one!r} is claimed by {owners[one]!r} and {name!r}",
                            hint=f'Disable one: disabled = ["{name}"]',
                        )
                    owners[one] = name
                    sources[one] = source
        return sources

    def _family(self, name: str) -> Family:
        if name not in self._families:
            raise PluginError(
                f"no family of plugins is called {name!r}",
                accepted=tuple(self._families),
                hint=did_you_mean(name, self._families),
            )
        return self._families[name]

    def _register(self, family: Family, name: str, plugin_class: Any, value: str) -> Any:
        where = f"{family.group} -> {value}"
        plugin = guard(where, plugin_class) if isinstance(plugin_class, type) else plugin_class
        own = getattr(plugin, "name", name)
        if own != name:
            raise PluginError(
                f"the plugin calls itself {own!r}, its entry point {name!r}",
                where=where,
                hint="Give both the same name.",
            )
        key = f"{family.name}.{name}"
        try:
            self._manager.register(plugin, key)
            self._manager.check_pending()
        except pluggy.PluginValidationError as error:
            self._manager.unregister(name=key)
            raise PluginError(
                f"a hook does not fit: {error}",
                where=where,
                hint="Compare its name and arguments with the family's hook specs.",
            ) from error
        if family.create and not hasattr(plugin, family.create):
            self._manager.unregister(name=key)
            raise PluginError(
                f"the plugin has no {family.create}",
                where=where,
                accepted=(f"{family.create}(self, settings, ctx)",),
                hint=f"Add it and mark it with @hookimpl; see {family.specs}.",
            )
        return plugin

    def _only(self, hook: str, plugin: Any) -> Any:
        with self._lock:
            others = [one for one in self._manager.get_plugins() if one is not plugin]
            return self._manager.subset_hook_caller(hook, others)


def _folder(variable: str, default: Callable[..., Path]) -> Path:
    chosen = os.environ.get(variable)
    return Path(chosen).expanduser() if chosen else default("accelerate")
