# SPDX-License-Identifier: Apache-2.0
"""Understand the part of JQL that is about equality, lists, text and emptiness.

Source: "JQL fields", "JQL operators" and "Search syntax for text fields" (Jira support), and
"Entity property" (Jira Cloud platform modules) for properties.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

TOKEN = re.compile(
    r"""\s*(?:(?P<quoted>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|(?P<op>!=|!~|<=|>=|[=~<>(),])"""
    r"""|(?P<word>issue\.property\[[^\]]*\]\.[\w.\-]+|[\w\-]+))"""
)
PROPERTY = re.compile(r"issue\.property\[(?:\"([^\"]*)\"|'([^']*)'|([^\]]*))\]\.(.+)", re.I)

#: The values of a field of an issue; None: the field is not there or cannot be searched.
Values = Callable[[Any, str], "list[str] | None"]
Test = Callable[[Any], bool]


class JqlError(Exception):
    """A query is refused."""


def words(text: str) -> set[str]:
    """Return what a text is found by."""
    return set(re.findall(r"\w+", text.lower()))


class Query:
    """Hold a query: which issues match, and by what they are ordered."""

    def __init__(self, text: str, known: Mapping[str, set[str]], values: Values) -> None:
        self._known, self._values = known, values
        self._tokens = _tokens(text)
        self.test: Test | None = None  #: None: nothing restricts it
        if self._tokens and self._peek() != "order":
            self.test = self._either()
        self.newest_first = self._order()

    def _either(self) -> Test:
        tests = [self._both()]
        while self._take("or"):
            tests.append(self._both())
        return tests[0] if len(tests) == 1 else lambda issue: any(test(issue) for test in tests)

    def _both(self) -> Test:
        tests = [self._one()]
        while self._take("and"):
            tests.append(self._one())
        return tests[0] if len(tests) == 1 else lambda issue: all(test(issue) for test in tests)

    def _one(self) -> Test:
        if self._take("not"):
            test = self._one()
            return lambda issue: not test(issue)
        if self._take("("):
            test = self._either()
            self._need(")")
            return test
        return self._clause()

    def _clause(self) -> Test:
        field = self._next("a field")
        name = field if PROPERTY.fullmatch(field) else field.lower()
        if self._values(None, name) is None:
            raise JqlError(
                f"Field '{field}' does not exist or you do not have permission to view it."
            )
        operator = self._next("an operator").lower()
        if operator == "is":
            negated = self._take("not")
            if self._next("EMPTY").lower() not in ("empty", "null"):
                raise JqlError("Error in the JQL Query: Expecting EMPTY or NULL.")
            return lambda issue: bool(self._values(issue, name)) == negated
        negated = operator in ("!=", "!~", "not")
        if operator == "not":
            self._need("in")
        if operator in ("=", "!=", "~", "!~"):
            wanted = [self._next("a value")]
        elif operator in ("in", "not"):
            wanted = self._list()
        else:
            raise JqlError(f"The operator '{operator}' is not supported by the '{field}' field.")
        if operator in ("~", "!~"):
            needles = words(wanted[0])
            return lambda issue: (
                any(needles <= words(value) for value in self._values(issue, name) or []) != negated
            )
        for value in wanted:
            if name in self._known and value.lower() not in self._known[name]:
                raise JqlError(f"The value '{value}' does not exist for the field '{field}'.")
        lowered = {value.lower() for value in wanted}
        # An issue without a value matches neither = nor !=.
        return lambda issue: (
            bool(found := self._values(issue, name))
            and (bool(lowered & {value.lower() for value in found or []}) != negated)
        )

    def _list(self) -> list[str]:
        self._need("(")
        values = [self._next("a value")]
        while self._take(","):
            values.append(self._next("a value"))
        self._need(")")
        return values

    def _order(self) -> bool:
        newest = True
        if self._take("order"):
            self._need("by")
            self._next("a field")
            newest = self._take("desc") or not self._take("asc")
            while self._take(","):
                self._next("a field")
                self._take("desc") or self._take("asc")
        if self._tokens:
            raise JqlError(
                f"Error in the JQL Query: Expecting either 'OR' or 'AND' but got "
                f"'{self._tokens[0][1]}'."
            )
        return newest

    def _peek(self) -> str:
        return self._tokens[0][1].lower() if self._tokens and not self._tokens[0][0] else ""

    def _take(self, word: str) -> bool:
        if self._peek() == word:
            self._tokens.pop(0)
            return True
        return False

    def _need(self, word: str) -> None:
        if not self._take(word):
            raise JqlError(f"Error in the JQL Query: Expecting '{word}'.")

    def _next(self, what: str) -> str:
        if not self._tokens:
            raise JqlError(f"Error in the JQL Query: Expecting {what} before the end of the query.")
        return self._tokens.pop(0)[1]


def _tokens(text: str) -> list[tuple[bool, str]]:
    """Return the words of a query, and whether each was quoted."""
    found, at, text = [], 0, text.rstrip()
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            raise JqlError(
                f"Error in the JQL Query: The character '{text[at:].strip()[0]}' is a reserved "
                "JQL character. You must enclose it in a string or use the escape instead."
            )
        if quoted := match["quoted"]:
            found.append((True, re.sub(r"\\(.)", r"\1", quoted[1:-1])))
        else:
            found.append((False, match[0].strip()))
        at = match.end()
    return found
