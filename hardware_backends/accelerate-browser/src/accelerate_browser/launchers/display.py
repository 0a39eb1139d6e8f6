# SPDX-License-Identifier: Apache-2.0
"""A private X display for browsers that cannot do without one: Xvfb, closed to everybody else."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import struct
from asyncio.subprocess import Process
from pathlib import Path

from accelerate_core.errors import BackendUnavailable, JobTimeout

from .. import processes
from .stage import Stage, tail

XVFB_REMEDY = "apt-get install xvfb"

_FAMILY_WILD = 0xFFFF
_COOKIE_NAME = b"MIT-MAGIC-COOKIE-1"


def authority(cookie: bytes) -> bytes:
    """Return an Xauthority file (libXau's format) that admits whoever can read it."""
    fields = (b"", b"", _COOKIE_NAME, cookie)
    return struct.pack(">H", _FAMILY_WILD) + b"".join(
        struct.pack(">H", len(field)) + field for field in fields
    )


def find_xvfb() -> Path | None:
    """Return where Xvfb lies."""
    found = shutil.which("Xvfb")
    return Path(found) if found else None


async def start(stage: Stage, timeout_s: float) -> tuple[Process, dict[str, str]]:
    """Start Xvfb inside a launch; return it and the variables that lead to it.

    It carries the launch's tag and so ends with it. BackendUnavailable when it does not start,
    JobTimeout when it takes longer than `timeout_s`.
    """
    xvfb = find_xvfb()
    if xvfb is None:
        raise BackendUnavailable("Xvfb is not installed", hint=XVFB_REMEDY)
    cookies = stage.folder / "xauthority"
    stage.write("xauthority", authority(secrets.token_bytes(16)))
    reading, writing = os.pipe()
    try:
        with stage.log("xvfb.log") as log:
            process = await asyncio.create_subprocess_exec(
                str(xvfb), "-displayfd", str(writing), "-screen", "0", "1280x800x24",
                "-nolisten", "tcp", "-auth", str(cookies), "-noreset",
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                env=stage.environment, pass_fds=(writing,), start_new_session=True,
            )  # fmt: skip
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    try:
        number = await _number(process, reading, timeout_s)
    except TimeoutError as error:
        raise JobTimeout(f"Xvfb did not start in {timeout_s:g} s", where=str(xvfb)) from error
    except ValueError as error:
        said = tail(stage.folder / "xvfb.log")
        raise BackendUnavailable(f"Xvfb did not start: {said}", where=str(xvfb)) from error
    # A killed server leaves its socket: whoever removes the folder removes that too.
    stage.write("display", str(number).encode())
    return process, {"DISPLAY": f":{number}", "XAUTHORITY": str(cookies)}


async def _number(process: Process, reading: int, timeout_s: float) -> int:
    """Return the display's number; where none comes, the server has ended."""
    try:
        async with asyncio.timeout(timeout_s):
            return int(await _read_line(reading))
    except BaseException:
        processes.end(process, kill=True)
        await asyncio.shield(process.wait())
        raise


async def _read_line(descriptor: int) -> bytes:
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", 0)
    )
    try:
        return await reader.readline()
    finally:
        transport.close()
