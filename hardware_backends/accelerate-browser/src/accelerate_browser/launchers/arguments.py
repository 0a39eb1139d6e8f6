# SPDX-License-Identifier: Apache-2.0
"""Build command lines, preferences and environments for browsers. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..browsers import HEADLESS_SHELL
from .graphics import SystemFacts

_ENABLE = "--enable-features="
_DISABLE = "--disable-features="

# Each line is there because without it a launch is slower, louder, throttled or asks a question.
_CHROMIUM_QUIET = (
    "--no-first-run",
    "--no-default-browser-check",
    "--no-service-autorun",
    "--disable-search-engine-choice-screen",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--disable-quic",
    "--disable-breakpad",
    "--disable-crash-reporter",
    "--disable-field-trial-config",
    "--disable-hang-monitor",
    "--disable-popup-blocking",
    "--metrics-recording-only",
    "--mute-audio",
    "--password-store=basic",
    "--use-mock-keychain",
    # Else a page that lost its device twice gets none any more, and the third crash of the GPU
    # process ends the browser or its WebGPU.
    "--disable-domain-blocking-for-3d-apis",
    "--disable-gpu-process-crash-limit",
    # Timers of a page that nobody looks at would otherwise run once a second.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
)
_CHROMIUM_OFF = ("Translate", "MediaRouter", "OptimizationHints", "CalculateNativeWinOcclusion")

# Containers commonly have 64 MiB of shared memory, where large tensors crash the renderer.
_ENOUGH_SHARED_MEMORY = 2 << 30


def chromium_arguments(
    *,
    browser: str,
    profile: Path,
    headless: bool,
    is_software: bool,
    is_sandboxed: bool,
    facts: SystemFacts,
    extra: Sequence[str] = (),
) -> list[str]:
    """Return the arguments of a Chromium-family browser, without its binary and URL.

    Chromium obeys only the last list of features it is given, so lists in `extra` are merged.
    """
    arguments = [f"--user-data-dir={profile}", *_CHROMIUM_QUIET]
    enabled = ["WebMachineLearningNeuralNetwork"]
    if headless:
        arguments.append("--headless" if browser == HEADLESS_SHELL else "--headless=new")
    if not is_sandboxed:
        arguments.append("--no-sandbox")
    if facts.shared_memory_bytes is not None and facts.shared_memory_bytes < _ENOUGH_SHARED_MEMORY:
        arguments.append("--disable-dev-shm-usage")
    arguments.append("--enable-unsafe-webgpu")
    if is_software:
        arguments.append("--use-webgpu-adapter=swiftshader")
    elif facts.platform == "linux":
        arguments += ["--use-angle=vulkan", "--disable-vulkan-surface", "--ignore-gpu-blocklist"]
        enabled.append("Vulkan")
    rest = [item for item in extra if not item.startswith((_ENABLE, _DISABLE))]
    return [
        *arguments,
        _ENABLE + _features(_ENABLE, enabled, extra),
        _DISABLE + _features(_DISABLE, _CHROMIUM_OFF, extra),
        *rest,
    ]


def _features(prefix: str, ours: Sequence[str], extra: Sequence[str]) -> str:
    theirs = (item.removeprefix(prefix).split(",") for item in extra if item.startswith(prefix))
    names = [*ours, *(name for names in theirs for name in names if name)]
    return ",".join(dict.fromkeys(names))


def firefox_arguments(*, profile: Path, headless: bool, extra: Sequence[str] = ()) -> list[str]:
    """Return the arguments of Firefox, without its binary and URL."""
    head = ["--headless"] if headless else []
    # A profile that a newer Firefox wrote would otherwise be refused with a dialog.
    return [*head, "--no-remote", "--allow-downgrade", "--profile", str(profile), *extra]


FIREFOX_PREFERENCES: Mapping[str, bool | int | str] = {
    "dom.webgpu.enabled": True,
    "dom.webgpu.workers.enabled": True,
    "gfx.webgpu.ignore-blocklist": True,
    "app.normandy.enabled": False,
    "app.shield.optoutstudies.enabled": False,
    "app.update.auto": False,
    "app.update.disabledForTesting": True,
    "app.update.enabled": False,
    "browser.aboutwelcome.enabled": False,
    "browser.cache.disk.smart_size.enabled": False,
    "browser.contentblocking.category": "standard",
    "browser.discovery.enabled": False,
    "browser.newtabpage.enabled": False,
    "browser.region.network.url": "",
    "browser.safebrowsing.blockedURIs.enabled": False,
    "browser.safebrowsing.downloads.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.safebrowsing.update.enabled": False,
    "browser.search.update": False,
    "browser.sessionstore.resume_from_crash": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage": "about:blank",
    "browser.startup.homepage_override.mstone": "ignore",
    "browser.startup.page": 0,
    "browser.tabs.crashReporting.sendReport": False,
    "browser.tabs.warnOnClose": False,
    "browser.topsites.contile.enabled": False,
    "browser.warnOnQuit": False,
    "captivedetect.canonicalURL": "",
    "datareporting.healthreport.uploadEnabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "datareporting.policy.dataSubmissionPolicyBypassNotification": True,
    "dom.disable_open_during_load": False,
    # A page that nobody looks at keeps its timers and its priority.
    "dom.ipc.processPriorityManager.enabled": False,
    "dom.min_background_timeout_value": 4,
    "dom.timeout.enable_budget_timer_throttling": False,
    "dom.push.connection.enabled": False,
    "extensions.getAddons.cache.enabled": False,
    "extensions.systemAddon.update.enabled": False,
    "extensions.update.enabled": False,
    "geo.enabled": False,
    "media.gmp-manager.updateEnabled": False,
    "messaging-system.rsexperimentloader.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.dns.disablePrefetch": True,
    "network.prefetch-next": False,
    "services.settings.server": "data:,#",
    "sanity-test.disabled": True,
    "toolkit.startup.max_resumed_crashes": -1,
    "toolkit.telemetry.enabled": False,
    "toolkit.telemetry.server": "",
    "toolkit.telemetry.unified": False,
}


def user_js(preferences: Mapping[str, bool | int | str]) -> str:
    """Return the text of a profile's `user.js`."""
    return "".join(
        f"user_pref({json.dumps(name)}, {json.dumps(value)});\n"
        for name, value in preferences.items()
    )


def firefox_environment(*, is_software: bool, facts: SystemFacts) -> dict[str, str]:
    """Return what Firefox needs set: no crash reports, and Mesa's lavapipe for software."""
    environment = {"MOZ_CRASHREPORTER_DISABLE": "1", "MOZ_DATA_REPORTING": "0"}
    if is_software and facts.platform == "linux":
        environment["VK_LOADER_DRIVERS_SELECT"] = "*lvp*"
        environment["LIBGL_ALWAYS_SOFTWARE"] = "1"
    return environment


def webkitgtk_environment(*, profile: Path, is_sandboxed: bool) -> dict[str, str]:
    """Return what MiniBrowser needs set; it knows its profile only through these folders."""
    environment = {
        "XDG_CACHE_HOME": str(profile / "cache"),
        "XDG_CONFIG_HOME": str(profile / "config"),
        "XDG_DATA_HOME": str(profile / "data"),
        "GDK_BACKEND": "x11",
        "GIO_USE_VFS": "local",
        "NO_AT_BRIDGE": "1",
        "GSETTINGS_BACKEND": "memory",
    }
    if not is_sandboxed:
        environment["WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS"] = "1"
    return environment


def start_page(url: str) -> str:
    """Return a page that goes to `url`.

    Everybody on a machine can read command lines, and the URL carries the bridge's token: the
    browser is started on this private file instead.
    """
    target = json.dumps(url).replace("<", "\\u003c")
    return (
        "<!doctype html><meta charset=utf-8><title>accelerate</title>"
        f"<script>location.replace({target})</script>"
    )
