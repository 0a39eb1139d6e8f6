# SPDX-License-Identifier: Apache-2.0
"""The arithmetic that `kernel.toml` may contain: `k % 4 == 0 and m > 1`, `n / (16 * workgroup)`."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

from accelerate_core.errors import PluginError

_BINARY: Mapping[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARE: Mapping[type[ast.AST], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_CALLS: Mapping[str, Callable[..., Any]] = {"min": min, "max": max}


def evaluate(expression: str, names: Mapping[str, float], *, where: str = "") -> float:
    """Return the value of an expression; PluginError, naming `where`, for anything else."""
    try:
        value: float = _value(ast.parse(expression, mode="eval").body, names)
        return value
    except (SyntaxError, ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise PluginError(
            f"{expression!r} cannot be worked out: {error}",
            where=where or None,
            accepted=("+ - * / // %", "== != < <= > >=", "and or not", "min() max()", *names),
        ) from error


def _value(node: ast.AST, names: Mapping[str, float]) -> Any:
    match node:
        case ast.Constant(value=int() | float() as value):
            return value
        case ast.Name(id=name):
            return names[name]
        case ast.BinOp(left=left, op=op, right=right):
            return _BINARY[type(op)](_value(left, names), _value(right, names))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _value(operand, names)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, names)
        case ast.BoolOp(op=op, values=values):
            results = (_value(value, names) for value in values)
            return all(results) if isinstance(op, ast.And) else any(results)
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return _COMPARE[type(op)](_value(left, names), _value(right, names))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
            return _CALLS[name](*(_value(one, names) for one in args))
    raise TypeError(f"{type(node).__name__} is not arithmetic")
