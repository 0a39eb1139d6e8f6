# SPDX-License-Identifier: Apache-2.0
"""The group of all commands, each imported when it is invoked, and the one place for errors.

A plugin's command is an entry point named after it; one with a dot in its name, `models.compile`,
is added to the group before the dot, which may be another distribution's.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import sys
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

import typer

from .. import loading
from ..errors import AccelerateError, ConfigError, PluginError, did_you_mean
from ..secrets import RedactingFilter, redact, redacted
from .output import print_error
from .overview import COMMANDS, GROUP, overview, plugin_commands, version
from .wording import WHOLE, reword

INTERRUPTED = 130

#: What these log is in the results too, and is shown from there.
_SHOWN_ELSEWHERE = ("accelerate.host", "accelerate.observers", "accelerate.pipeline")


class LazyGroup(typer.core.TyperGroup):
    """Find commands by name: own ones as modules, others as entry points."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return all names, own commands first."""
        return [*COMMANDS, *plugin_commands()]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import a command; ConfigError for one nobody has, PluginError for a broken one."""
        if cmd_name in COMMANDS:
            app = importlib.import_module(f".{cmd_name}", __package__).app
        elif "." not in cmd_name and (claims := loading.find(GROUP).get(cmd_name)):
            app = _load_claimed(claims)
        else:
            names = self.list_commands(ctx)
            raise ConfigError(
                f"no command is called {cmd_name!r}",
                accepted=names,
                hint=did_you_mean(cmd_name, names) or "accel --help shows them.",
            )
        return _command(app, cmd_name)

    def get_help(self, ctx: Any) -> str:
        """Return the same help as without Typer."""
        return overview()


def load_app(found: loading.Found) -> typer.Typer:
    """Import a plugin's command; PluginError when it is no Typer app."""
    app = loading.load(found)
    if not isinstance(app, typer.Typer):
        raise PluginError(
            f"the command {found.name!r} is a {type(app).__name__}",
            where=f"{found.group} -> {found.value}",
            accepted=("a typer.Typer app",),
            hint=f"Update it: pip install --upgrade {found.distribution}",
        )
    return app


class LazyCommand(typer.core.TyperCommand):
    """Stand in a group for a command that another distribution adds to it."""

    def __init__(self, name: str, claims: Sequence[loading.Found]) -> None:
        super().__init__(name)
        self._claims = claims

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Import the command and let it take over; PluginError for a broken one."""
        return self._load().make_context(*args, **options)

    def get_short_help_str(self, limit: int = 45) -> str:
        """Return the line for the group's help, which a broken command does not prevent."""
        try:
            text = self._load().get_short_help_str(WHOLE)
        except PluginError as error:
            text = f"broken: {error.info.message}"
        return f"{text} [{self._claims[0].distribution}]"

    def _load(self) -> Any:
        return _command(_load_claimed(self._claims), str(self.name))


def _load_claimed(claims: Sequence[loading.Found]) -> typer.Typer:
    """Import a command; PluginError also when two distributions claim its name."""
    if (conflict := loading.conflict(claims)) is not None:
        raise conflict
    return load_app(claims[0])


def _extend(group: Any, name: str) -> None:
    """Add what plugins offer for a group; its own commands win."""
    for full_name, claims in loading.find(GROUP).items():
        parent, _, own_name = full_name.rpartition(".")
        if parent == name and own_name not in group.commands:
            group.add_command(LazyCommand(own_name, claims), own_name)


def _command(app: typer.Typer, name: str) -> Any:
    """Return the Click command of an app, without the options that install completion."""
    is_group = app.registered_callback or app.registered_groups or len(app.registered_commands) > 1
    command: Any
    if is_group:
        command = typer.main.get_group(app)
        _extend(command, name)
    else:
        single = typer.Typer(add_completion=False, rich_markup_mode=app.rich_markup_mode)
        single.registered_commands = app.registered_commands
        command = typer.main.get_command(single)
    command.name = name
    reword(command)
    return command


# Without markup: that costs a second of imports, and eats what stands in brackets.
app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(version())
        raise typer.Exit


@app.callback()
def _accel(
    is_version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True),
) -> None:
    pass


def invoke(words: list[str], *, is_debug: bool) -> int:
    """Run the command that `words` ask for and return its exit code."""
    with _logging(is_debug), loading.listed_once():
        try:
            typer.main.get_command(app)(args=words, prog_name="accel")
        except SystemExit as exit_:
            if isinstance(getattr(exit_.__context__, "__cause__", None), KeyboardInterrupt):
                raise KeyboardInterrupt from None  # Typer ends without a word
            return exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
        except BrokenPipeError:
            raise
        except AccelerateError as error:
            if is_debug:
                _print_traceback(error)
            print_error(redacted(error.info))
            return error.exit_code
        except Exception as error:
            _print_unexpected(error, is_debug)
            return 1
    return 0


def _print_unexpected(error: Exception, is_debug: bool) -> None:
    if is_debug:
        _print_traceback(error)
        return
    print(
        redact(f"error: unexpected {type(error).__name__}: {error}\n")
        + "This is a bug. Run the command again with --debug to see where.",
        file=sys.stderr,
    )


def _print_traceback(error: Exception) -> None:
    print(redact("".join(traceback.format_exception(error))), end="", file=sys.stderr)


@contextlib.contextmanager
def _logging(is_debug: bool) -> Iterator[None]:
    """Show warnings as lines while a command runs, or with `is_debug` everything."""
    handler: logging.Handler = _OneLine(logging.WARNING)
    if is_debug:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root, own = logging.getLogger(), logging.getLogger("accelerate")
    levels = root.level, own.level
    handler.addFilter(RedactingFilter())
    root.addHandler(handler)
    if is_debug:
        root.setLevel(logging.INFO)
        # At INFO an HTTP client writes whole URLs, and a redirect's URL can be signed.
        for client in ("httpx", "httpx2", "urllib3"):
            logging.getLogger(client).setLevel(logging.WARNING)
        own.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(levels[0])
        own.setLevel(levels[1])


class _OneLine(logging.Handler):
    """Show warnings without their tracebacks."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.name not in _SHOWN_ELSEWHERE:
            # sys.stderr is looked up each time: progress bars replace it.
            print(f"{record.levelname.lower()}: {record.getMessage()}", file=sys.stderr)
