# SPDX-License-Identifier: Apache-2.0
"""From alerts to words, by templates. What comes out is text: connectors escape it.

Alerts are data: what stands in a model's name is never a template.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping, Sequence
from datetime import tzinfo
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from accelerate_core.errors import ConfigError, did_you_mean
from accelerate_core.events import Notification
from accelerate_core.texts import one_line

from . import sample
from .alerts import Alert, about, rank

if TYPE_CHECKING:
    import jinja2

_log = logging.getLogger("accelerate.notify")

#: A template for each kind of message: about one thing, several, a digest, what stayed open.
NAMES = ("alert", "group", "digest", "escalation")
_SUFFIX = ".j2"
_NOUNS = {
    "regression": ("regression", "regressions"),
    "run_failed": ("failed run", "failed runs"),
    "run_finished": ("finished run", "finished runs"),
    "run_started": ("started run", "started runs"),
    "measurement_stored": ("measurement", "measurements"),
    "worker_lost": ("lost worker", "lost workers"),
}


class Renderer:
    """Fill in templates: the first line is the title, the rest the text."""

    def __init__(self, folder: Path | None = None) -> None:
        """Take a folder whose templates replace the built-in ones; ConfigError when one is wrong.

        Each is tried with made-up alerts, so that a misspelt word is found before a run.
        """
        self._built_in = _environment({name: _built_in(name) for name in NAMES})
        self._own: jinja2.Environment | None = None
        self._paths: Mapping[str, Path] = {}
        if folder is not None:
            self._paths = _paths(folder)
            self._own = _environment({name: _read(path) for name, path in self._paths.items()})
            self._try()

    def notification(
        self,
        template: str,
        alerts: Sequence[Alert],
        *,
        rule: str,
        base: Notification,
        zone: tzinfo,
        after_s: float = 0.0,
    ) -> Notification:
        """Return `base` with the words for these alerts in it, the worst of which is the first.

        Where a template of one's own fails, the built-in one takes its place and the message says
        why: it is about more than its template.
        """
        words = _words(alerts, rule, after_s)
        problem = ""
        if template in self._paths:
            assert self._own is not None
            try:
                title, text = _filled(self._own, template, words)
            except Exception as error:
                problem = self._explained(template, error)
                _log.warning("a template failed: %s", problem)
        if template not in self._paths or problem:
            title, text = _filled(self._built_in, template, words)
        facts, header, rows = _table(alerts, zone)
        facts += (("Rule", rule),)
        if problem:
            facts += (("Template", problem),)
        return attrs.evolve(
            base,
            title=title,
            text=text,
            severity=max((one.message.severity for one in alerts), key=rank),
            of=tuple(one.key for one in alerts),
            facts=facts,
            header=header,
            rows=rows,
            link=next((one.message.link for one in alerts if one.message.link), None),
        )

    def _try(self) -> None:
        assert self._own is not None
        for name, path in self._paths.items():
            # About one thing, and about several, of some of which little is known.
            for alerts in ((sample.regression(),), sample.every_kind()):
                shown = tuple(about(one, lambda _: None) for one in alerts)
                try:
                    _filled(self._own, name, _words(shown, "rule 1", 7200.0))
                except Exception as error:
                    raise ConfigError(
                        _said(error),
                        where=f"{path} line {_line(error, name)}",
                        hint="Known are: alerts, count, what, cause, rule, after; of an alert:"
                        f" {', '.join(field.name for field in attrs.fields(Alert))}, title, text.",
                    ) from None

    def _explained(self, name: str, error: Exception) -> str:
        return f"{self._paths[name]} line {_line(error, name)}: {_said(error)}"


def _environment(sources: Mapping[str, str]) -> jinja2.Environment:
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    # What is made is text, which connectors escape: escaping twice would show the escapes.
    return ImmutableSandboxedEnvironment(
        loader=jinja2.DictLoader(sources),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _built_in(name: str) -> str:
    return (resources.files(__package__) / "templates" / f"{name}{_SUFFIX}").read_text("utf-8")


def _paths(folder: Path) -> dict[str, Path]:
    """Return the templates of a folder by name; ConfigError for one that replaces none."""
    if not folder.is_dir():
        raise ConfigError(
            "templates: no such folder",
            where=str(folder.absolute()),
            hint="Without the key the built-in ones are used.",
        )
    found = {path.stem: path for path in sorted(folder.glob(f"*{_SUFFIX}"))}
    for name, path in found.items():
        if name not in NAMES:
            raise ConfigError(
                f"no template is called {name!r}",
                where=str(path),
                accepted=tuple(f"{one}{_SUFFIX}" for one in NAMES),
                hint=did_you_mean(name, NAMES),
            )
    if not found:
        raise ConfigError(
            "templates: none is in the folder",
            where=str(folder),
            accepted=tuple(f"{one}{_SUFFIX}" for one in NAMES),
        )
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", where=str(path)) from None


def _filled(
    environment: jinja2.Environment, name: str, words: Mapping[str, Any]
) -> tuple[str, str]:
    made = environment.get_template(name).render(words).strip()
    title, _, text = made.partition("\n")
    if not title:
        raise ValueError("it makes nothing, and its first line is the title")
    return one_line(title), text.strip()


def _words(alerts: Sequence[Alert], rule: str, after_s: float) -> dict[str, Any]:
    """Return what templates know."""
    causes = {one.cause_text for one in alerts}
    return {
        "alert": alerts[0],
        "alerts": tuple(alerts),
        "count": len(alerts),
        "what": _counted(alerts),
        "cause": next(iter(causes)) if len(causes) == 1 else "",
        "rule": rule,
        "after": in_words(after_s),
    }


def _counted(alerts: Sequence[Alert]) -> str:
    """Return how many of what: "2 regressions, 1 failed run"."""
    counts: dict[str, int] = {}
    for one in alerts:
        counts[one.kind] = counts.get(one.kind, 0) + 1
    return ", ".join(f"{count} {_NOUNS[kind][count > 1]}" for kind, count in counts.items())


def in_words(seconds: float) -> str:
    """Return a length of time as people write it."""
    for unit, length in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"


_Facts = tuple[tuple[str, str], ...]


def _table(
    alerts: Sequence[Alert], zone: tzinfo
) -> tuple[_Facts, tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Return facts, header and rows: those of the one alert, or a row for each of several."""
    if len(alerts) == 1:
        message = alerts[0].message
        return message.facts, message.header, message.rows
    rows = tuple(
        (one.title, one.message.severity, f"{one.at.astimezone(zone):%Y-%m-%d %H:%M %Z}")
        for one in alerts
    )
    causes = dict.fromkeys(one.cause_text for one in alerts if one.cause_text)
    return tuple(("Cause", one) for one in causes), ("What", "Severity", "When"), rows


def _line(error: Exception, name: str) -> int | str:
    """Return the line of the template in which an error happened."""
    if (line := getattr(error, "lineno", None)) is not None:
        return int(line)
    # Jinja makes frames of templates carry the lines of their source.
    frames = traceback.extract_tb(error.__traceback__)
    lines = [one.lineno for one in frames if one.filename in ("<template>", name) and one.lineno]
    return lines[-1] if lines else 1


def _said(error: Exception) -> str:
    """Return an error's message on one line; the source it quotes is left out."""
    message = getattr(error, "message", None) or str(error) or type(error).__name__
    return one_line(str(message))
