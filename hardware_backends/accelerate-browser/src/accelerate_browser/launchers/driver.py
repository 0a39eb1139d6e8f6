# SPDX-License-Identifier: Apache-2.0
"""The blocking half of the `selenium` launcher: drivers and their sessions, called in threads."""

from __future__ import annotations

import contextlib
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from accelerate_core.errors import WorkerLost

from .. import processes
from ..browsers import HEADLESS_SHELL
from . import arguments, stage

if TYPE_CHECKING:
    from selenium.webdriver.common.service import Service
    from selenium.webdriver.remote.webdriver import WebDriver


class Session:
    """One driver and its browser."""

    def __init__(self, scene: stage.Stage) -> None:
        self._scene = scene
        self._service: Service | None = None
        self._driver: WebDriver | None = None
        self.pid = 0

    @property
    def is_open(self) -> bool:
        """Whether there is a driver to talk to."""
        return self._driver is not None

    @property
    def driver_pid(self) -> int | None:
        """The driver's process, once it was started; it leads the session of the launch."""
        process = getattr(self._service, "process", None)
        return process.pid if process is not None else None

    def open(self, flags: list[str]) -> None:
        """Start driver and browser and open the URL."""
        from selenium.common.exceptions import WebDriverException
        from urllib3.exceptions import HTTPError

        name = self._scene.request.browser.browser
        try:
            with self._scene.log(self._scene.output.name) as log:
                self._service = make_service(self._scene, log)
                self._driver = make_driver(self._scene, self._service, flags)
            driver_pid = self._service.process.pid
            self._scene.write(processes.SESSION_FILE, str(driver_pid).encode())
            self.pid = self._find_browser(driver_pid)
            self._driver.get(self._scene.request.url)
        except (WebDriverException, HTTPError, OSError) as error:
            words = (getattr(error, "msg", None) or str(error)).strip().splitlines()
            raise WorkerLost(
                f"the browser did not start: {words[0] if words else type(error).__name__}",
                where=f"{name} through {self._scene.request.browser.driver or 'selenium'}",
                hint=stage.tail(self._scene.output) or None,
            ) from error

    def _find_browser(self, driver_pid: int) -> int:
        assert self._driver is not None
        if pid := self._driver.capabilities.get("moz:processID"):
            return int(pid)
        return processes.first_child(driver_pid) or driver_pid

    def quit(self) -> None:
        """Ask browser and driver to end."""
        with contextlib.suppress(Exception):  # a driver that is gone cannot be asked
            if self._driver is not None:
                self._driver.quit()

    def forget(self) -> None:
        """Close Selenium's pipes and connections to processes that are gone."""
        with contextlib.suppress(Exception):
            if self._driver is not None:
                self._driver.command_executor.close()  # type: ignore[union-attr]
        with contextlib.suppress(Exception):
            if self._service is not None:
                self._service.stop()


def make_service(scene: stage.Stage, log: BinaryIO) -> Service:
    """Return the driver's service, not started: tagged, in a session of its own."""
    from selenium.webdriver.chrome.service import Service as ChromeService
    from selenium.webdriver.edge.service import Service as EdgeService
    from selenium.webdriver.firefox.service import Service as FirefoxService
    from selenium.webdriver.safari.service import Service as SafariService
    from selenium.webdriver.webkitgtk.service import Service as WebKitService

    browser = scene.request.browser
    options: dict[str, Any] = {
        "executable_path": str(browser.driver) if browser.driver else None,
        "env": scene.environment,
        "popen_kw": {"start_new_session": True, "cwd": scene.folder},
    }
    if browser.browser == "safari":
        return SafariService(**options)
    options["log_output"] = log
    if browser.browser == "firefox":
        return FirefoxService(**options)
    if browser.browser == "webkitgtk":
        return WebKitService(**options)
    # A driver of another version works better than one that refuses.
    options["service_args"] = ["--disable-build-check"]
    return EdgeService(**options) if browser.browser == "edge" else ChromeService(**options)


def make_driver(scene: stage.Stage, service: Any, flags: list[str]) -> WebDriver:
    """Start driver and browser and return Selenium's object for them."""
    from selenium import webdriver
    from selenium.webdriver.webkitgtk.options import Options as WebKitOptions

    request = scene.request
    binary = request.browser.path
    options: Any
    match request.browser.browser:
        case "firefox":
            options = webdriver.FirefoxOptions()
            for name, value in arguments.FIREFOX_PREFERENCES.items():
                options.set_preference(name, value)
            flags = arguments.firefox_arguments(
                profile=request.profile, headless=request.headless, extra=flags
            )
            kind: Any = webdriver.Firefox
        case "safari":
            options, kind = webdriver.SafariOptions(), webdriver.Safari
        case "webkitgtk":
            options, kind = WebKitOptions(), _webkit
            flags = ["--automation", *flags]
        case "edge":
            options, kind = webdriver.EdgeOptions(), webdriver.Edge
        case name:
            options, kind = webdriver.ChromeOptions(), webdriver.Chrome
            if name == HEADLESS_SHELL and os.name == "posix":
                binary = _with_page(scene, binary)
    options.page_load_strategy = "none"  # the page says itself when it is ready
    if request.browser.browser != "safari":
        options.binary_location = str(binary)
        for flag in flags:
            options.add_argument(flag)
    driver: WebDriver = kind(options=options, service=service)
    return driver


def _webkit(options: Any, service: Service) -> WebDriver:
    """Do what `webdriver.WebKitGTK` does, without its deprecated way to say the address."""
    from selenium.webdriver.remote.client_config import ClientConfig
    from selenium.webdriver.remote.remote_connection import RemoteConnection
    from selenium.webdriver.remote.webdriver import WebDriver

    service.start()
    address = ClientConfig(remote_server_addr=service.service_url)
    return WebDriver(RemoteConnection(client_config=address), options=options)


def _with_page(scene: stage.Stage, binary: Path) -> Path:
    """Return a script that starts the shell with an empty page.

    chromedriver names no page to a browser with a profile of its own. Chromium opens its start
    page then; the shell has none, and chromedriver waits for a page forever.
    """
    scene.write("start.sh", f'#!/bin/sh\nexec {shlex.quote(str(binary))} "$@" data:,\n'.encode())
    script = scene.folder / "start.sh"
    script.chmod(0o700)
    return script
