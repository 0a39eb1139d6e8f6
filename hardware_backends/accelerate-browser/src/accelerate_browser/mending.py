# SPDX-License-Identifier: Apache-2.0
"""Why a page went, and how one is made as new in the same browser."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from accelerate_core.errors import AccelerateError, Unsupported, WorkerLost

from . import processes
from .bridge import Bridge, Connection
from .hookspecs.engine import EngineModule
from .hookspecs.launcher import Gone, Launched
from .messages import Renew, Reopen

if TYPE_CHECKING:
    import psutil

# A browser that dies closes its sockets a moment before its parent hears of it, and where the
# system does not tell that a process ends, before it is gone.
_LOOKS = 3
_LOOK_S = 0.01
#: On a busy machine that moment may be long.
_HEARD_S = 1.0


class Autopsy:
    """Find out whether a socket ended because a process did."""

    def __init__(self, launched: Launched) -> None:
        self._launched = launched
        self._page: psutil.Process | None = None
        #: Done when the browser is gone.
        self.gone: asyncio.Task[Gone] = asyncio.create_task(launched.wait_gone())

    async def learn(self) -> None:
        """Find the process that the page lives in, while it lives."""
        self._page = await asyncio.to_thread(processes.page_process, self._launched.pid)

    async def explain(self) -> WorkerLost | None:
        """Return the crash behind a socket's end, or None: both processes live."""
        is_alive = True
        for _ in range(_LOOKS):
            await asyncio.wait([self.gone], timeout=_LOOK_S if is_alive else _HEARD_S)
            if self.gone.done() and not self.gone.cancelled():
                return self.gone.result().to_error()
            # Of a page that ended with its browser, the browser's end is the cause.
            is_alive = not processes.is_ending(self._launched.pid)
            page = self._page
            if is_alive and page and (processes.is_ending(page.pid) or not page.is_running()):
                message = f"the page's process (pid {page.pid}) crashed"
                return WorkerLost(message, hint="The browser itself lives on.", reason="crash")
        return None


async def renew(connection: Connection, timeout_s: float) -> None:
    """Give a page another compute thread and device; WorkerLost when it does not come up."""
    _require_answers(connection)
    try:
        async with asyncio.timeout(timeout_s):
            await connection.request(lambda id, _: Renew(id=id))
    except TimeoutError:
        message = f"the page got no other compute thread within {timeout_s:g} s"
        raise WorkerLost(message, reason="hang") from None


async def reopen(
    connection: Connection,
    bridge: Bridge,
    module: EngineModule,
    where: str,
    gone: asyncio.Task[Gone],
    timeout_s: float,
) -> Connection:
    """Load a page anew in its browser and return its connection, engine ready.

    Unsupported when the page does not answer: its own script does it. WorkerLost when it does not
    come back.
    """
    _require_answers(connection)
    invitation = bridge.invite(module, where)
    try:
        async with asyncio.timeout(timeout_s):
            await connection.tell(Reopen(url=invitation.url))
            following: Connection = await _unless_gone(invitation.connection, gone)
            await _unless_gone(following.ready, gone)
    except TimeoutError:
        message = f"the page did not come back within {timeout_s:g} s"
        raise WorkerLost(message, where=where, reason="hang") from None
    except AccelerateError as error:
        message = f"the page did not come back: {error.info.message}"
        raise WorkerLost(message, where=where, reason=error.info.reason or "crash") from error
    finally:
        bridge.uninvite(invitation)
        connection.lose("the page was loaded anew")
    return following


def _require_answers(connection: Connection) -> None:
    if connection.is_silent:
        raise Unsupported(
            "the page does not answer, so it cannot be asked to mend itself",
            hint="Its browser has to be restarted.",
        )


async def _unless_gone(wanted: asyncio.Future[Any], gone: asyncio.Task[Gone]) -> Any:
    await asyncio.wait([wanted, gone], return_when=asyncio.FIRST_COMPLETED)
    if not wanted.done():
        raise gone.result().to_error()
    return wanted.result()
