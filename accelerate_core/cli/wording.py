# SPDX-License-Identifier: Apache-2.0
"""Help as other tools print it, of every command alike: `FILE` and `--repeats N`, not types."""

from __future__ import annotations

import re
from typing import Any

#: Longer than any sentence: a summary is wrapped, never cut.
WHOLE = 1000

#: What stands for a value, by the type of what it becomes; anything else is called like the option.
_WORDS = {"int": "N", "float": "NUMBER", "path": "PATH"}


def reword(command: Any) -> None:
    """Change the help of a Click command, and of those in it that are loaded."""
    command.rich_markup_mode = None
    for param in command.params:
        if param.param_type_name == "argument":
            _reword_argument(param)
        elif param.metavar is None:
            param.metavar = _word(param)
    for one in getattr(command, "commands", {}).values():
        reword(one)
        if one.help:
            one.short_help = one.get_short_help_str(WHOLE)


def _reword_argument(param: Any) -> None:
    name = re.sub(r"[\[\].]", "", param.metavar or param.name.upper())
    shown = (name if param.required else f"[{name}]") + ("..." if param.nargs != 1 else "")
    record = param.get_help_record

    def get_help_record(ctx: Any) -> tuple[str, str] | None:
        made = record(ctx)
        return made and (name, made[1].removesuffix("[required]").rstrip())

    param.metavar = name  # as errors call it
    param.get_usage_pieces = lambda ctx: [shown]
    param.get_help_record = get_help_record


def _word(param: Any) -> str | None:
    about = getattr(param, "type_descriptor", None)
    if getattr(about, "is_choice", False):
        return None  # the choices are shown
    kind = str(getattr(about, "annotation", None) or param.type).lower()
    for part, word in _WORDS.items():
        if part in kind:
            return word
    return str(max(param.opts, key=len)).lstrip("-").upper().replace("-", "_")
