# SPDX-License-Identifier: Apache-2.0
"""`accel notify`: try the rules of a pipeline file, and show what they made people know."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from accelerate_core.errors import ErrorInfo
    from accelerate_core.events import Notification
    from accelerate_core.protocols import Connector

    from .notifier import Notifier, Preview
    from .settings import Rule

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Try the rules of a pipeline file, and show what they made people know.",
)

_Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


@app.command()
def test(
    file: Annotated[Path, typer.Argument(help="Pipeline file (TOML).", metavar="FILE")],
    kind: Annotated[
        str | None,
        typer.Option(
            "--on",
            metavar="KIND",
            help="What happens: regression, run_failed, run_finished, run_started,"
            " measurement_stored or worker_lost. By default a regression if a rule is about those,"
            " else what the first rule is about.",
        ),
    ] = None,
    rule: Annotated[
        str | None, typer.Option(help="Only this rule, by name or number.", metavar="RULE")
    ] = None,
    to: Annotated[
        list[str] | None,
        typer.Option(help="Send what the first fitting rule says to this connector, as a test."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="By default the file's first.")] = None,
    target: Annotated[str | None, typer.Option(help="By default the file's first.")] = None,
    metric: Annotated[
        str | None, typer.Option(help="What became worse.", show_default="latency_ms")
    ] = None,
    severity: Annotated[
        str | None,
        typer.Option(help="Of those that the kind can have; by default its usual one."),
    ] = None,
    change: Annotated[
        str | None, typer.Option(help="50% is half as much more.", show_default="50%")
    ] = None,
    is_fixed: Annotated[
        bool, typer.Option("--fixed", help="The regression is gone again.")
    ] = False,
    branch: Annotated[str | None, typer.Option(help="Branch of the project.")] = None,
    as_json: _Json = False,
) -> None:
    """Make up an event, and show which rules are about it and what they would say, to whom.

    Nobody is told, unless --to names them.

    Exit code: 0 a rule fits, 1 none does, or it could not be sent, 2 usage or configuration.
    """
    from accelerate_core.assembly import kinds_of, make_connectors, make_host
    from accelerate_core.cli.output import print_error, print_json
    from accelerate_core.config import load

    from .wanting import wanted

    config = load(file)
    tables = make_connectors(config, make_host(config))
    made = {name: one for name, (one, _) in tables.items()}
    with contextlib.ExitStack() as stack:
        for one in made.values():
            stack.callback(one.close)
        notifiers = _notifiers(made, file)
        rules = _chosen(notifiers, rule, file)
        sample = wanted(
            config,
            [one for _, one in rules],
            kind=kind,
            model=model,
            target=target,
            metric=metric,
            severity=severity,
            change=change,
            is_fixed=is_fixed,
            branch=branch,
        )
        event = sample.event()
        found = [
            (name, preview)
            for name, one in notifiers.items()
            for preview in one.preview(event, sample.run)
            if (name, preview.rule) in {(other, chosen.name) for other, chosen in rules}
        ]
        fitting = next((one.message for _, one in found if one.message), None)
        sent, failed = _send(made, fitting, to, file) if to and fitting else ({}, {})
    if as_json:
        plain = [_plain(name, one) for name, one in found]
        failures = {name: info.message for name, info in failed.items()}
        print_json({"rules": plain, "sent": sent, "failed": failures})
    else:
        _print(found, sent, {name for name, one in tables.items() if event.kind in kinds_of(*one)})
    for info in failed.values():
        print_error(info)
    raise typer.Exit(int(fitting is None or bool(failed)))


@app.command()
def history(
    db: Annotated[Path, typer.Option(help="The database file.")] = Path("results.duckdb"),
    limit: Annotated[int, typer.Option(help="So many, the latest.", min=1)] = 50,
    as_json: _Json = False,
) -> None:
    """List what rules made people know, and what waits to be told, oldest first.

    Exit code: 0, 2 usage, 1 when the database cannot be used.
    """
    from accelerate_core.cli.database import looked_at
    from accelerate_core.cli.output import print_json
    from accelerate_core.host import Host

    from .history import read, show

    with looked_at(Host(), db) as records:
        rows = read(records, limit)
    if as_json:
        print_json(rows)
    else:
        show(rows)


def _notifiers(made: dict[str, Connector], file: Path) -> dict[str, Notifier]:
    from accelerate_core.errors import ConfigError

    from .notifier import Notifier

    found = {name: one for name, one in made.items() if isinstance(one, Notifier)}
    if not found:
        raise ConfigError(
            "there are no rules",
            where=str(file),
            hint='Add them: [[connectors]] use = "notify", and [[connectors.rules]]',
        )
    return found


def _chosen(notifiers: dict[str, Notifier], word: str | None, file: Path) -> list[tuple[str, Rule]]:
    """Return the rules that a name, or else a number, means, each with its connector's id."""
    from accelerate_core.errors import ConfigError, did_you_mean

    every = [
        (number, name, rule)
        for name, one in notifiers.items()
        for number, rule in enumerate(one.rules, 1)
    ]
    named = [(name, rule) for _, name, rule in every if word in (None, rule.name)]
    found = named or [(name, rule) for number, name, rule in every if str(number) == word]
    if not found:
        names = [rule.name for _, _, rule in every]
        raise ConfigError(
            f"no rule is called {word!r}",
            where=str(file),
            accepted=names,
            hint=did_you_mean(str(word), names),
        )
    return found


def _send(
    made: dict[str, Connector], message: Notification, to: Sequence[str], file: Path
) -> tuple[dict[str, str], dict[str, ErrorInfo]]:
    """Send a message as a test; return where it is seen, and why it is not, by connector."""
    import uuid

    import attrs

    from accelerate_core.errors import ConfigError, ConnectorError, did_you_mean
    from accelerate_core.memory_store import MemoryStore
    from accelerate_core.secrets import redacted

    from .notifier import can_be_told

    others = {name: one for name, one in made.items() if can_be_told(one)}
    for name in to:
        if name not in others:
            raise ConfigError(
                f"no connector that can be told has the id {name!r}",
                where=str(file),
                accepted=tuple(others),
                hint=did_you_mean(name, others),
            )
    sent: dict[str, str] = {}
    failed: dict[str, ErrorInfo] = {}
    for name in to:
        if attach := getattr(made[name], "attach", None):
            attach(MemoryStore())  # as before any first event
        told = attrs.evolve(
            message,
            # A new one each time: what a service has seen it does not show again.
            id=f"test-{uuid.uuid4().hex[:12]}",
            to=(name,),
            title=f"Test: {message.title}",
            text=f"This is a test: it did not happen.\n{message.text}".strip(),
        )
        try:
            receipt = made[name].deliver(told)
        except ConnectorError as error:
            failed[name] = redacted(attrs.evolve(error.info, where=name))
        else:
            sent[name] = (receipt.url if receipt else None) or "sent"
    return sent, failed


def _plain(name: str, one: Preview) -> dict[str, Any]:
    from accelerate_core.serial import to_plain

    plain: dict[str, Any] = {"connector": name, **to_plain(one)}
    return plain


def _print(
    found: Sequence[tuple[str, Preview]], sent: dict[str, str], direct: Collection[str]
) -> None:
    from rich.text import Text

    from accelerate_core.cli.output import console
    from accelerate_core.delivering.message import message_of

    from .rendering import in_words

    out = console()
    for name, one in found:
        head = Text.assemble((f"{name}, {one.rule}", "bold"), ": ")
        if one.message is None or one.due_at is None:
            out.print(head.append(one.mismatch or ""), soft_wrap=True)
            continue
        waits = (one.due_at - datetime.now(UTC)).total_seconds() > 1
        when = f"{one.due_at:%a %Y-%m-%d %H:%M %Z}" if waits else "at once"
        out.print(head.append(f"to {', '.join(one.to)}, {when}"), soft_wrap=True)
        if one.escalate:
            after, others = in_words(one.escalate.after), ", ".join(one.escalate.to)
            out.print(Text(f"  to {others} if it is open {after} later", style="dim"))
        for name in one.to:
            if name in direct:
                hint = 'on = ["notification"] leaves it to rules'
                out.print(Text(f"  {name} hears of it directly, too: {hint}", style="yellow"))
        message = message_of(one.message)
        for line in (message.title, *message.text.splitlines()):
            out.print(Text(f"  {line}"), soft_wrap=True)
        for word, value in message.facts:
            out.print(Text(f"  {word}: {value}", style="dim"), soft_wrap=True)
    for name, where in sent.items():
        out.print(Text(f"{name}: {where}"), soft_wrap=True)
