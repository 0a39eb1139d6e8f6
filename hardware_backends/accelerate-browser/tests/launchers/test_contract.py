# SPDX-License-Identifier: Apache-2.0
"""Every launcher with every browser it can start here, for real."""

from __future__ import annotations

from pathlib import Path

import pytest
from accelerate_browser.hookspecs.launcher import Launcher
from accelerate_browser.testing.launcher import LauncherContract

from accelerate_core.protocols import Context


class _Here(LauncherContract):
    plugin: str

    @pytest.fixture
    def browser_cache(self, browser_cache: Path) -> Path:
        return browser_cache

    @pytest.fixture
    def launcher(self, context: Context) -> Launcher:
        launcher = context.plugins.create("launchers", self.plugin)
        assert isinstance(launcher, Launcher)
        return launcher


class TestProcessChromium(_Here):
    plugin, browser_name, agent = "process", "chromium", "HeadlessChrome/"


class TestProcessHeadlessShell(_Here):
    plugin, browser_name, agent = "process", "chromium-headless-shell", "HeadlessChrome/"


class TestProcessFirefox(_Here):
    plugin, browser_name, agent = "process", "firefox", "Firefox/"


class TestProcessWebKitGTK(_Here):
    plugin, browser_name, agent = "process", "webkitgtk", "AppleWebKit/"


class TestSeleniumChromium(_Here):
    plugin, browser_name, agent = "selenium", "chromium", "HeadlessChrome/"


class TestSeleniumHeadlessShell(_Here):
    plugin, browser_name, agent = "selenium", "chromium-headless-shell", "HeadlessChrome/"


class TestSeleniumWebKitGTK(_Here):
    plugin, browser_name, agent = "selenium", "webkitgtk", "AppleWebKit/"
    keeps_profile = False


class TestAutoHeadlessShell(_Here):
    plugin, browser_name, agent = "auto", "chromium-headless-shell", "HeadlessChrome/"
