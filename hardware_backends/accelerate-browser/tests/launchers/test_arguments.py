# SPDX-License-Identifier: Apache-2.0
"""What browsers are started with: pure functions."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from accelerate_browser.launchers import arguments, display
from accelerate_browser.launchers.graphics import SystemFacts, use_sandbox, use_software
from hypothesis import given
from hypothesis import strategies as st

_FACTS = st.builds(
    SystemFacts,
    platform=st.sampled_from(["linux", "darwin", "win32"]),
    is_root=st.booleans(),
    has_render_node=st.booleans(),
    has_nvidia_device=st.booleans(),
    shared_memory_bytes=st.none() | st.integers(0, 1 << 40),
)
_NAMES = st.text("ABCdef", min_size=1, max_size=4)
_EXTRA = st.lists(
    st.one_of(
        st.builds(lambda name: f"--{name.lower()}", _NAMES),
        st.builds(lambda names: "--enable-features=" + ",".join(names), st.lists(_NAMES)),
        st.builds(lambda names: "--disable-features=" + ",".join(names), st.lists(_NAMES)),
    ),
    max_size=6,
)


def _features(prefix: str, items: list[str]) -> list[str]:
    lists = [item.removeprefix(prefix) for item in items if item.startswith(prefix)]
    return [name for one in lists for name in one.split(",") if name]


@given(
    browser=st.sampled_from(["chrome", "chromium", "edge", "chromium-headless-shell"]),
    headless=st.booleans(),
    is_software=st.booleans(),
    is_sandboxed=st.booleans(),
    facts=_FACTS,
    extra=_EXTRA,
)
def test_chromium_arguments(
    browser: str,
    headless: bool,
    is_software: bool,
    is_sandboxed: bool,
    facts: SystemFacts,
    extra: list[str],
) -> None:
    items = arguments.chromium_arguments(
        browser=browser,
        profile=Path("/p q"),
        headless=headless,
        is_software=is_software,
        is_sandboxed=is_sandboxed,
        facts=facts,
        extra=extra,
    )
    assert items.count("--user-data-dir=/p q") == 1
    assert ("--no-sandbox" in items) != is_sandboxed
    assert any(item.startswith("--headless") for item in items) == headless
    assert ("--use-webgpu-adapter=swiftshader" in items) == is_software
    assert ("--use-angle=vulkan" in items) == (not is_software and facts.platform == "linux")
    for prefix in ("--enable-features=", "--disable-features="):
        # Chromium obeys only the last list it is given.
        assert sum(item.startswith(prefix) for item in items) == 1
        features = _features(prefix, items)
        assert len(features) == len(set(features))
        assert set(_features(prefix, extra)) <= set(features)
    assert "WebMachineLearningNeuralNetwork" in _features("--enable-features=", items)
    plain = [item for item in extra if "-features=" not in item]
    assert items[len(items) - len(plain) :] == plain


@pytest.mark.parametrize("render_node", [True, False])
@pytest.mark.parametrize("nvidia", [True, False])
@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_software_only_where_no_gpu_is_visible(
    render_node: bool, nvidia: bool, platform: str
) -> None:
    facts = SystemFacts(
        platform=platform, is_root=True, has_render_node=render_node, has_nvidia_device=nvidia
    )
    assert use_software(True, facts) is True
    assert use_software(False, facts) is False
    assert use_software("auto", facts) == (platform == "linux" and not render_node and not nvidia)


def test_the_sandbox_is_kept_unless_root() -> None:
    root = SystemFacts(
        platform="linux", is_root=True, has_render_node=False, has_nvidia_device=False
    )
    user = SystemFacts(
        platform="linux", is_root=False, has_render_node=False, has_nvidia_device=False
    )
    assert (use_sandbox("auto", root), use_sandbox("auto", user)) == (False, True)
    assert (use_sandbox(True, root), use_sandbox(False, user)) == (True, False)


@given(st.text())
def test_the_start_page_leads_to_the_url_and_nowhere_else(url: str) -> None:
    page = arguments.start_page(url)
    assert page.count("</script>") == 1
    match = re.fullmatch(r".*<script>location\.replace\((.*)\)</script>", page, re.DOTALL)
    assert match and json.loads(match[1]) == url


def test_user_js_says_every_preference() -> None:
    lines = arguments.user_js({"a.b": True, "c": 3, 'd"': "x\\"}).splitlines()
    read = [json.loads("[" + line.removeprefix("user_pref(")[:-2] + "]") for line in lines]
    assert read == [["a.b", True], ["c", 3], ['d"', "x\\"]]


@given(st.binary(min_size=16, max_size=16))
def test_the_xauthority_admits_by_cookie(cookie: bytes) -> None:
    data = display.authority(cookie)
    assert data.startswith(b"\xff\xff\0\0\0\0\0\x12MIT-MAGIC-COOKIE-1\0\x10")
    assert data.endswith(cookie)
