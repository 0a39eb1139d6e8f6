# SPDX-License-Identifier: Apache-2.0
"""Plain TOML data into attrs classes, strictly: every error names file, key and allowed values."""

from __future__ import annotations

import enum
import math
import re
import types as python_types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NewType, TypeVar, Union, get_args, get_origin

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn

from . import secrets
from .errors import ConfigError, did_you_mean
from .secrets import Secret
from .types import Target

T = TypeVar("T")

#: A length of time: a number of seconds, or "500ms", "10s", "2m", "1h" in a file.
Seconds = NewType("Seconds", float)

#: An amount of memory: a number of bytes, or "512MiB", "4GiB", "4GB" in a file.
Size = NewType("Size", int)

#: A part of something: a number, or "2%" in a file.
Share = NewType("Share", float)

#: Any number, infinities and NaN included: data. A setting of type `float` is finite.
Real = NewType("Real", float)

_ARRAYS: tuple[Any, ...] = (tuple, list, Sequence)
_TABLES: tuple[Any, ...] = (dict, Mapping)
_UNKNOWN_KEY = "unknown key"
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]i?)B")
_BOUND = re.compile(r"'(\w+)' must be ([<>]=? \S+): (.+)")


class _Refused(ValueError):
    """A value that does not fit, before its key is known."""

    def __init__(self, message: str, accepted: tuple[str, ...] = (), hint: str | None = None):
        super().__init__(message)
        self.accepted = accepted
        self.hint = hint


def _origin(kind: Any) -> Any:
    return get_origin(kind)


def _word(value: Any) -> str:
    names = {bool: "true or false", int: "an integer", float: "a number", str: "a string"}
    names |= {dict: "a table", list: "an array"}
    return names.get(type(value), type(value).__name__)


def _expect(kind: type, word: str) -> Any:
    def structure(value: Any, _: Any) -> Any:
        # bool is an int in Python, and never meant as one in a file.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise _Refused(f"{_word(value)} ({value!r}) where {word} is expected", (word,))
        return value

    return structure


def _real(value: Any, _: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Refused(f"{_word(value)} ({value!r}) where a number is expected", ("a number",))
    return float(value)


def _number(value: Any, kind: Any) -> float:
    number = _real(value, kind)
    if not math.isfinite(number):
        raise _Refused(f"{value!r} is not allowed", ("a finite number",))
    return number


def _seconds(value: Any, _: Any) -> float:
    accepted = ("a number of seconds", '"500ms"', '"10s"', '"2m"', '"1h"')
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        return float(match[1]) * _UNITS[match[2]]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value < math.inf:
        raise _Refused(f"{value!r} is not a length of time", accepted)
    return float(value)


def _share(value: Any, _: Any) -> float:
    if isinstance(value, str) and (match := _SHARE.fullmatch(value.strip())):
        return float(match[1]) / 100
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value < math.inf:
        raise _Refused(f"{value!r} is not a share", ("a number, as 0.02", '"2%"'))
    return float(value)


def _size(value: Any, _: Any) -> int:
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        base = 1024 if match[2].endswith("i") else 1000
        return int(float(match[1]) * base ** ("KMGT".index(match[2][0]) + 1))
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        accepted = ("a number of bytes", '"512MiB"', '"4GiB"', '"4GB"')
        raise _Refused(f"{value!r} is not an amount of memory", accepted)
    return value


def _text(value: Any, _: Any) -> str:
    checked: str = _expect(str, "a string")(value, None)
    return resolve_env(checked)


def resolve_env(value: str) -> str:
    """Return the variable's value for `env:NAME`, anything else unchanged."""
    return _read(value) if value.startswith("env:") else value


def _read(reference: str) -> str:
    try:
        return secrets.read(reference)
    except ConfigError as error:
        info = error.info
        raise _Refused(info.message, info.accepted, info.hint) from None


def _secret(value: Any, _: Any) -> Secret:
    return Secret(_read(_expect(str, "a string")(value, None)))


def _literal(value: Any, kind: Any) -> Any:
    allowed = get_args(kind)
    if value not in allowed:
        words = tuple(str(one) for one in allowed)
        raise _Refused(f"{value!r} is not allowed", words, did_you_mean(str(value), words))
    return value


def _enum(value: Any, kind: type[enum.Enum]) -> Any:
    allowed = tuple(str(one.value) for one in kind)
    if value not in allowed:
        raise _Refused(f"{value!r} is not allowed", allowed, did_you_mean(str(value), allowed))
    return kind(value)


def _make() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)
    converter.register_structure_hook(bool, _expect(bool, "true or false"))
    converter.register_structure_hook(int, _expect(int, "an integer"))
    converter.register_structure_hook(float, _number)
    converter.register_structure_hook(str, _text)
    converter.register_structure_hook(Path, lambda value, _: Path(_text(value, None)).expanduser())
    converter.register_structure_hook(Secret, _secret)
    converter.register_structure_hook(Target, lambda value, _: Target.parse(_text(value, None)))
    converter.register_structure_hook_func(lambda kind: kind is Seconds, _seconds)
    converter.register_structure_hook_func(lambda kind: kind is Size, _size)
    converter.register_structure_hook_func(lambda kind: kind is Share, _share)
    converter.register_structure_hook_func(lambda kind: kind is Real, _real)
    converter.register_structure_hook_func(lambda kind: _origin(kind) is Literal, _literal)
    for base in (enum.Enum, enum.StrEnum, enum.IntEnum):  # the nearest class counts, and not str
        converter.register_structure_hook(base, _enum)
    converter.register_structure_hook_func(lambda kind: kind is Any, lambda value, _: value)

    def is_union(kind: Any) -> bool:
        return _origin(kind) in (Union, python_types.UnionType)

    def union(value: Any, kind: Any) -> Any:
        options = [option for option in get_args(kind) if option is not type(None)]
        if value is None and len(options) < len(get_args(kind)):
            return None
        refusals: list[_Refused] = []
        for option in options:
            try:
                return converter.structure(value, option)
            except _Refused as refused:
                refusals.append(refused)
        if len(refusals) == 1:
            raise refusals[0]
        accepted = tuple(dict.fromkeys(word for one in refusals for word in one.accepted))
        raise _Refused(f"{value!r} is not allowed", accepted)

    converter.register_structure_hook_func(is_union, union)

    def sequence(value: Any, kind: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise _Refused(f"{_word(value)} ({value!r}) where an array is expected", ("an array",))
        inner = (get_args(kind) or (Any,))[0]
        result, problems = [], []
        for index, one in enumerate(value):
            try:
                result.append(converter.structure(one, inner))
            except Exception as error:
                problems.append(_Keyed(f"[{index}]", error))
        if problems:
            raise _Problems(problems)
        return list(result) if get_origin(kind) is list else tuple(result)

    converter.register_structure_hook_func(
        lambda kind: _origin(kind) in _ARRAYS,
        sequence,
    )

    def mapping(value: Any, kind: Any) -> Any:
        if not isinstance(value, Mapping):
            raise _Refused(f"{_word(value)} ({value!r}) where a table is expected", ("a table",))
        key_kind, inner = get_args(kind) or (str, Any)
        result, problems = {}, []
        for key, one in value.items():
            try:
                result[converter.structure(key, key_kind)] = converter.structure(one, inner)
            except Exception as error:
                problems.append(_Keyed(f".{key}", error))
        if problems:
            raise _Problems(problems)
        return result

    converter.register_structure_hook_func(
        lambda kind: _origin(kind) in _TABLES,
        mapping,
    )

    def attrs_class(kind: Any) -> Any:
        inner = make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=True)

        def structure(value: Any, _: Any) -> Any:
            if not isinstance(value, Mapping):
                raise _Refused(
                    f"{_word(value)} ({value!r}) where a table is expected", ("a table",)
                )
            return inner(value, kind)

        return structure

    converter.register_structure_hook_factory(attrs.has, attrs_class)
    return converter


class _Keyed(Exception):
    def __init__(self, key: str, error: Exception):
        self.key = key
        self.error = error


class _Problems(Exception):
    def __init__(self, problems: list[_Keyed]):
        self.problems = problems


converter = _make()


def structure(data: Mapping[str, Any], kind: type[T], *, where: str) -> T:
    """Return `kind` made from TOML data; ConfigError naming `where`, key and allowed values."""
    try:
        return converter.structure(dict(data), kind)
    except Exception as error:
        problems = list(_explain(error, ""))
        if not problems:
            raise
        # A misspelt key comes before the missing one it was meant to be.
        problems.sort(key=lambda problem: problem[0] != _UNKNOWN_KEY)
        message, key, accepted, hint = problems[0]
        if len(problems) > 1:
            others = "; ".join(
                f"{key_.strip('.')}: {message_}" for message_, key_, *_ in problems[1:]
            )
            hint = f"{hint + ' ' if hint else ''}Also: {others}"
        place = f"{where}{' key ' if key else ''}{key.strip('.')}"
        raise ConfigError(message, where=place, accepted=accepted, hint=hint) from None


_Explained = tuple[str, str, tuple[str, ...], str | None]


def _explain(error: BaseException, key: str) -> typing.Iterator[_Explained]:
    """Yield message, key, accepted values and hint for every fault below an exception."""
    if isinstance(error, _Keyed):
        yield from _explain(error.error, key + error.key)
    elif isinstance(error, _Problems):
        for problem in error.problems:
            yield from _explain(problem, key)
    elif isinstance(error, cattrs.errors.ForbiddenExtraKeysError):
        known = tuple(
            field.alias for field in attrs.fields(attrs.resolve_types(error.cl)) if field.init
        )
        for extra in sorted(error.extra_fields):
            yield (
                _UNKNOWN_KEY,
                f"{key}.{extra}",
                known,
                did_you_mean(extra, known),
            )
    elif isinstance(error, cattrs.errors.ClassValidationError):
        for one, note in ((one, _attribute(one)) for one in error.exceptions):
            yield from _explain(one, f"{key}.{note}" if note else key)
    elif isinstance(error, _Refused):
        yield str(error), key, error.accepted, error.hint
    elif isinstance(error, ConfigError):
        # A validator of one field does not get its key from cattrs, and says it itself.
        named = f"{key}.{error.info.where}" if error.info.where else key
        yield error.info.message, named, error.info.accepted, error.info.hint
    elif isinstance(error, KeyError):
        yield "this key is missing", key or str(error.args[0]), (), None
    elif isinstance(error, ValueError) and (match := _BOUND.fullmatch(str(error))):
        yield f"{match[3]} is not allowed", f"{key}.{match[1]}", (match[2],), None
    elif isinstance(error, ValueError | TypeError):
        # A validator of the attrs class itself: its message is written for users.
        yield str(error), key, (), None


def _attribute(error: BaseException) -> str | None:
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, cattrs.AttributeValidationNote):
            return note.name
    return None
