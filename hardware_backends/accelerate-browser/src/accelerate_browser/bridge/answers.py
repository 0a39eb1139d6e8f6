# SPDX-License-Identifier: Apache-2.0
"""Put a page's answers together from messages and chunks. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from .. import codec
from ..codec import OnPage, Raw
from ..frames import Assembler, ChunkFrame, FrameError
from ..messages import Done, Loaded, TensorHeader


@attrs.frozen
class Answer:
    """Hold what a page answered: the message, and its tensors as they crossed."""

    message: Loaded | Done
    tensors: Mapping[str, Raw | OnPage]


@attrs.define
class _Partial:
    message: Done
    tensors: dict[str, Raw | OnPage]
    missing: int = 0


class Answers:
    """Collect the tensors of `Done` messages; an answer comes out when all its bytes are here."""

    def __init__(self) -> None:
        self._assembler = Assembler()
        self._streams: dict[int, tuple[_Partial, TensorHeader]] = {}

    def message(self, done: Done, inline: memoryview) -> Answer | None:
        """Take a Done; FrameError for headers that lie."""
        partial = _Partial(done, {})
        for header in done.tensors:
            codec.check_header(header, len(inline))
            if header.name in partial.tensors:
                raise FrameError(f"two tensors called {header.name!r}")
            partial.tensors[header.name] = self._place(header, inline, partial)
        return None if partial.missing else Answer(done, partial.tensors)

    def chunk(self, chunk: ChunkFrame) -> Answer | None:
        """Take a chunk; FrameError when it was not announced so."""
        finished = self._assembler.accept(chunk)
        if finished is None:
            return None
        stream, data = finished
        partial, header = self._streams.pop(stream)
        partial.tensors[header.name] = Raw(header.dtype, header.shape, data)
        partial.missing -= 1
        return None if partial.missing else Answer(partial.message, partial.tensors)

    def clear(self) -> None:
        """Drop what is not complete."""
        self._streams.clear()
        self._assembler = Assembler()

    def _place(self, header: TensorHeader, inline: memoryview, partial: _Partial) -> Raw | OnPage:
        if header.ref is not None:
            return OnPage(header.ref, header.dtype, header.shape)
        if header.offset is not None:
            data = inline[header.offset : header.offset + header.size_bytes]
            return Raw(header.dtype, header.shape, data)
        self._assembler.announce(header.stream or 0, header.size_bytes)
        self._streams[header.stream or 0] = (partial, header)
        partial.missing += 1
        return Raw(header.dtype, header.shape, memoryview(b""))
