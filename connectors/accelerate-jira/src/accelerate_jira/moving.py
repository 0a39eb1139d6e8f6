# SPDX-License-Identifier: Apache-2.0
"""Which transition takes an issue where it is to be, and with which fields. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

#: Shape of a value by the `type` of a field's schema ("JSON type of a field"); others are tables.
_SHAPES: Mapping[str, tuple[type | tuple[type, ...], str]] = {
    "string": (str, "a text"),
    "date": (str, 'a text like "2026-11-22"'),
    "datetime": (str, 'a text like "2026-11-22T10:00:00.000+0000"'),
    "number": ((int, float), "a number"),
    "array": (list, "an array"),
}
#: What names a value, the most telling first.
_NAMES = ("name", "value", "key", "id")


@attrs.frozen(kw_only=True)
class Goal:
    """Where issues are to be moved, by the settings NAME_status and NAME_fields."""

    name: str
    status: str  #: empty: any of the categories
    categories: tuple[str, ...]  #: the most wanted first
    fields: Mapping[str, Any]

    @property
    def where(self) -> str:
        """Say where that is."""
        return (
            repr(self.status) if self.status else f"a status of the category {self.categories[0]!r}"
        )


@attrs.frozen(kw_only=True)
class Field:
    """A field on the screen of a transition."""

    name: str
    is_required: bool  #: and JIRA has no default value of it
    type: str  #: "any" where JIRA does not say, and of what has several shapes
    items: str  #: type of what is in an array
    allowed: Sequence[Any]  #: empty: anything

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Field:
        """Return a field as `transitions.fields` describes it."""
        schema = raw.get("schema") or {}
        # Text with markup is a document in version 3 of the API, and a text in version 2.
        is_rich = str(schema.get("custom", "")).endswith(":textarea")
        return cls(
            name=str(raw.get("name")),
            is_required=bool(raw.get("required")) and not raw.get("hasDefaultValue"),
            type="any" if is_rich else schema.get("type", "any"),
            items=schema.get("items", "any"),
            allowed=tuple(raw.get("allowedValues") or ()),
        )


@attrs.frozen(kw_only=True)
class Move:
    """A transition that is open to an issue."""

    id: str
    status: str  #: where it leads
    category: str
    fields: Mapping[str, Field]  #: on its screen, by their ids

    def filled(self, goal: Goal) -> dict[str, Any]:
        """Return what the settings give of the fields on its screen: JIRA refuses others."""
        return {key: value for key, value in goal.fields.items() if key in self.fields}

    def missing(self, goal: Goal) -> list[str]:
        """Return the ids of fields that it needs and the settings do not give."""
        needed = (key for key, field in self.fields.items() if field.is_required)
        return [key for key in needed if key not in goal.fields]


def chosen(moves: Sequence[Move], goal: Goal) -> Move | None:
    """Return the transition to a status, or without one to the first category that has any.

    One whose screen the settings fill in comes before those that need more.
    """
    ordered = sorted(moves, key=lambda one: bool(one.missing(goal)))
    if goal.status:
        status = goal.status.casefold()
        return next((one for one in ordered if one.status.casefold() == status), None)
    for category in goal.categories:
        for one in ordered:
            if one.category == category:
                return one
    return None


def problems(moves: Sequence[Move], goal: Goal) -> Iterator[str]:
    """Yield what keeps an issue with these transitions from where it is to be."""
    if (move := chosen(moves, goal)) is None:
        known = ", ".join(sorted(one.status for one in moves))
        yield f"`{goal.name}_status`: no transition leads to {goal.where}; accepted: {known}."
        return
    setting, to = f"`{goal.name}_fields`", f"the transition to {move.status!r}"
    for key in move.missing(goal):
        field = move.fields[key]
        yield f"{setting}: {to} needs a value of {field.name!r}: {_example(key, field)}."
    for key, value in goal.fields.items():
        if key not in move.fields:
            names = ", ".join(move.fields) or "none"
            yield f"{setting}: the field {key!r} is not on the screen of {to}; accepted: {names}."
        elif wrong := _wrong(value, move.fields[key]):
            yield f"{setting}: {key!r} {wrong}."


def _wrong(value: Any, field: Field) -> str | None:
    """Return what is wrong with a value, in words."""
    if wrong := _misshapen(value, field.type):
        return wrong
    for one in value if field.type == "array" else (value,):
        if field.type == "array" and (wrong := _misshapen(one, field.items)):
            return f"has an item that {wrong}"
        if field.allowed and not any(_is_meant(one, known) for known in field.allowed):
            known = ", ".join(map(_name, field.allowed))
            return f"may not be {_name(one)}; accepted: {known}"
    return None


def _misshapen(value: Any, kind: str) -> str | None:
    if kind == "any":
        return None
    shape, words = _SHAPES.get(kind, (Mapping, 'a table like { name = "..." }'))
    is_right = isinstance(value, shape) and not isinstance(value, bool)
    return None if is_right else f"has to be {words}"


def _is_meant(value: Any, known: Any) -> bool:
    if isinstance(value, Mapping) and isinstance(known, Mapping):
        named = [key for key in _NAMES if key in value]
        return bool(named) and all(str(value[key]) == str(known.get(key)) for key in named)
    return bool(value == known)


def _name(value: Any) -> str:
    if isinstance(value, Mapping):
        return next((str(value[key]) for key in _NAMES if key in value), "a table")
    return str(value)


def _example(key: str, field: Field) -> str:
    value = "..."
    if field.allowed and isinstance(known := field.allowed[0], Mapping):
        named = next((one for one in _NAMES if one in known), None)
        value = f'{{ {named} = "{known[named]}" }}' if named else value
        value = f"[{value}]" if field.type == "array" else value
    return f"{key} = {value}"
