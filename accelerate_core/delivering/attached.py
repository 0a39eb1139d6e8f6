# SPDX-License-Identifier: Apache-2.0
"""Files that are made when somebody first looks at them, once for all who do."""

from __future__ import annotations

import logging
import threading
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import PurePath
from typing import overload

import attrs

from ..events import Attachment

_log = logging.getLogger("accelerate.delivering")


class _Late(Sequence[Attachment]):
    """Files that are there once `_files` was asked."""

    @overload
    def __getitem__(self, index: int) -> Attachment: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Attachment]: ...
    def __getitem__(self, index: int | slice) -> Attachment | Sequence[Attachment]:
        """Return one, or some."""
        return self._files()[index]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._files())

    @abstractmethod
    def _files(self) -> Sequence[Attachment]: ...


class Attached(_Late):
    """Hold files of an event. Thread-safe; a message goes without those that cannot be made.

    To draw takes a second: nobody does for a service that is down, or that takes no pictures.
    """

    def __init__(self, make: Callable[[], Sequence[Attachment]]) -> None:
        self._make = make
        self._made: tuple[Attachment, ...] | None = None
        self._making = threading.Lock()

    def _files(self) -> tuple[Attachment, ...]:
        with self._making:
            if self._made is None:
                try:
                    self._made = tuple(self._make())
                except Exception as error:
                    _log.warning("no picture could be made: %s", error)
                    self._made = ()
            return self._made


class Lent(_Late):
    """Hold files as one connector gets them; `making` is entered while it waits for them."""

    def __init__(
        self, files: Sequence[Attachment], making: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._lent = files
        self._making = making
        self._is_made = False

    def _files(self) -> Sequence[Attachment]:
        if not self._is_made:
            with self._making():
                len(self._lent)
            self._is_made = True
        return self._lent


def named_apart(files: Iterable[Attachment]) -> list[Attachment]:
    """Return files with a number in each name that one before has: services know them by it."""
    names: Counter[str] = Counter()
    apart = []
    for one in files:
        names[one.name] += 1
        if (number := names[one.name]) > 1:
            path = PurePath(one.name)
            one = attrs.evolve(one, name=f"{path.stem}-{number}{path.suffix}")
        apart.append(one)
    return apart
