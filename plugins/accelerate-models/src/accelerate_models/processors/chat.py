# SPDX-License-Identifier: Apache-2.0
"""Conversations to text by a model's own template, exactly as transformers renders it.

A template is code from a file nobody checked. It runs in jinja2's immutable sandbox, sees plain
JSON values only, and gets none of Python's classes: what is set up here follows transformers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from accelerate_core.errors import ModelError

#: The longest in use have some 20 kB.
TEMPLATE_LIMIT_BYTES = 256 << 10


class ChatTemplate:
    """Render conversations. ModelError for a template that is not valid; `where` names its file."""

    def __init__(self, source: str, special_tokens: Mapping[str, str], where: str) -> None:
        self._where = where
        self._special_tokens = special_tokens
        try:
            self._template = _environment().from_string(source)
        except (jinja2.TemplateError, RecursionError) as error:
            raise ModelError(
                f"its chat template is not valid: {error}",
                where=where,
                hint="Encode plain text with a copy of the model that has no template.",
            ) from error

    def render(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """Return the text that asks the model for the next message.

        Messages have a `role` and a `content`. ModelError for others, and where the template
        refuses them, as many do when roles do not alternate.
        """
        accepted = ('[{"role": "user", "content": "..."}, ...]',)
        for message in messages:
            if not isinstance(message, dict) or not isinstance(message.get("role"), str):
                raise ModelError("a conversation needs messages", accepted=accepted)
        try:
            plain = json.loads(json.dumps(messages))
        except (TypeError, ValueError, RecursionError) as error:
            raise ModelError(
                f"a message is more than plain values: {error}", accepted=accepted
            ) from error
        # Templates write None out; they know what to do without an entry.
        plain = [{key: v for key, v in one.items() if v is not None} for one in plain]
        try:
            return self._template.render(
                {
                    **self._special_tokens,
                    "messages": plain,
                    "tools": None,
                    "documents": None,
                    "add_generation_prompt": True,
                }
            )
        except Exception as error:  # a template can raise whatever an expression can
            raise ModelError(
                f"its chat template refuses this conversation: {error}", where=self._where
            ) from error


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = lambda format_: datetime.now().strftime(format_)
    environment.globals["dict"] = _Dict()
    environment.globals["namespace"] = _Namespace
    return environment


class _Generation(jinja2.ext.Extension):
    """`{% generation %}`: marks what the model wrote, for training. Here it only is a scope."""

    tags = {"generation"}  # noqa: RUF012 - declared so by jinja2

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        call = self.call_method("_pass_on")
        return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

    def _pass_on(self, caller: Callable[[], str]) -> str:
        return caller()


class _Dict:
    """The two uses of `dict` that templates make; the class itself leads out of the sandbox."""

    def __call__(self, *args: Any, **entries: Any) -> dict[Any, Any]:
        return dict(*args, **entries)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


class _Namespace(Namespace):
    """A namespace without names that begin with an underscore."""

    def __init__(*args: Any, **entries: Any) -> None:  # `self` is a legal entry
        self, *rest = args
        values = dict(*rest, **entries)
        for name in values:
            _check_name(name)
        Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError(f"a template may not name {name!r}")


def _to_json(value: Any, **options: Any) -> str:
    """Serialise without the escapes for HTML that jinja2's own filter makes."""
    return json.dumps(value, **{"ensure_ascii": False, **options})


def _raise(message: str) -> None:
    raise jinja2.exceptions.TemplateError(message)
