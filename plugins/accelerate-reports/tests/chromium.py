# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium, spoken to over its DevTools pipe: no driver, no port."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

FLAGS = (
    "--headless=new",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)


class Chromium:
    """Open pages one after the other; `events` holds what the current one said."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._scratch = tempfile.TemporaryDirectory(prefix="c-", ignore_cleanup_errors=True)
        self.events: list[dict[str, Any]] = []
        self._count = 0
        self._rest = b""

    def __enter__(self) -> Self:
        reads, self._write = os.pipe()
        self._read, writes = os.pipe()
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        flags = [*FLAGS, *sandbox, f"--user-data-dir={self._folder / 'profile'}", "about:blank"]
        # The pipe's ends must be descriptors 3 and 4; a shell moves them there. High numbers
        # first, or one could overwrite the other.
        moved = f'exec 18<&{reads} 19>&{writes}; exec chromium "$@" 3<&18 4>&19'
        self._process = subprocess.Popen(
            ["bash", "-c", moved, "bash", *flags],
            pass_fds=(reads, writes),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            # Short: the path of a socket in it has at most 107 bytes.
            env={**os.environ, "TMPDIR": self._scratch.name},
        )
        os.close(reads)
        os.close(writes)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._read)
        os.close(self._write)
        self._scratch.cleanup()

    def open(self, path: Path, *, width: int = 1200) -> None:
        """Open a file in a fresh tab and wait until its plots are drawn."""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.use_dark(False)
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        figures = "[...document.querySelectorAll('figure')].every(f => f.dataset.state === 'drawn')"
        self.wait_for(f"document.readyState === 'complete' && {figures}")

    def use_dark(self, is_dark: bool) -> None:
        """Let the page see that its reader prefers dark colours, or light ones."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def wait_for(self, condition: str) -> None:
        """Wait until an expression is true in the page."""
        deadline = time.monotonic() + 20
        while not self.value(condition):
            assert time.monotonic() < deadline, (condition, self.complaints())
            time.sleep(0.05)

    def value(self, expression: str) -> Any:
        """Return the JSON value of an expression in the page."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def complaints(self) -> list[dict[str, Any]]:
        """Return console messages, exceptions and what the browser logged itself (CSP)."""
        kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [event for event in self.events if event["method"] in kinds]

    def requests(self) -> list[str]:
        """Return the addresses the page asked for."""
        return [
            event["params"]["request"]["url"]
            for event in self.events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a DevTools method of the open tab."""
        return self._call(method, session=self._session, **parameters)

    def _call(self, method: str, *, session: str | None = None, **parameters: Any) -> Any:
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return answer["result"]
            if "method" in answer:
                self.events.append(answer)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], 20)
            assert ready, "Chromium does not answer"
            data = os.read(self._read, 1 << 20)
            assert data, f"Chromium ended with {self._process.poll()}"
            self._rest += data
        message, _, self._rest = self._rest.partition(b"\0")
        result: dict[str, Any] = json.loads(message)
        return result
