# SPDX-License-Identifier: Apache-2.0
"""The plugin host: who is found, who is refused, and what is said about it."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from accelerate_core import loading
from accelerate_core.errors import ConfigError, ModelError, PluginError
from accelerate_core.host import Host

SCHEDULERS = "accelerate_core.schedulers"
GOOD = """
import attrs
from accelerate_core import hookimpl
@attrs.frozen
class Settings:
    k: int = 1
class Good:
    name = "good"
    settings = Settings
    @hookimpl
    def scheduler_create(self, settings, ctx):
        self.k = settings.k
        return self
    def pick(self, job, fleet):
        return None
"""


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(cache_dir=tmp_path / "cache", state_dir=tmp_path / "state")


def test_a_third_party_plugin_is_found_by_name_and_created(host: Host, install: Any) -> None:
    install("third-party", SCHEDULERS, {"good": "Good"}, GOOD)
    assert "good" in host.names("schedulers")
    assert "third_party" not in sys.modules, "listing imports nothing"
    assert host.create("schedulers", "good", {"k": 3}).k == 3


def test_a_plugin_installed_a_moment_ago_is_found_by_the_next_host(
    host: Host, install: Any
) -> None:
    known = host.names("schedulers")
    assert "good" not in known
    install("third-party", SCHEDULERS, {"good": "Good"}, GOOD)
    assert host.names("schedulers") == known, "reading it anew takes long"
    assert "good" in Host().names("schedulers")


def test_settings_are_checked_with_file_key_and_allowed_values(host: Host, install: Any) -> None:
    install("third-party", SCHEDULERS, {"good": "Good"}, GOOD)
    with pytest.raises(ConfigError) as caught:
        host.create("schedulers", "good", {"kk": 3}, where="p.toml [schedulers.good]")
    assert caught.value.info.where == "p.toml [schedulers.good] key kk"
    assert caught.value.info.accepted == ("k",)


def test_an_unknown_name_is_answered_with_the_known_ones(host: Host, install: Any) -> None:
    install("third-party", SCHEDULERS, {"good": "Good"}, GOOD)
    with pytest.raises(ConfigError, match="no scheduler is called 'goood'") as caught:
        host.create("schedulers", "goood")
    assert "good" in caught.value.info.accepted
    assert caught.value.info.hint == "Did you mean 'good'?"


def test_a_name_claimed_twice_is_refused_naming_both(host: Host, install: Any) -> None:
    install("one-party", SCHEDULERS, {"good": "Good"}, GOOD)
    install("other-party", SCHEDULERS, {"good": "Good"}, GOOD)
    with pytest.raises(PluginError, match=r"one-party 1\.0 and other-party 1\.0"):
        host.create("schedulers", "good")


def test_a_disabled_plugin_is_not_there(install: Any, tmp_path: Path) -> None:
    install("third-party", SCHEDULERS, {"good": "Good"}, GOOD)
    host = Host(cache_dir=tmp_path, state_dir=tmp_path, disabled=["good"])
    with pytest.raises(ConfigError, match="it is disabled"):
        host.create("schedulers", "good")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import nothing_of_that_name\nGood = None", "cannot be imported.*nothing_of_that_name"),
        (GOOD.replace('name = "good"', 'name = "better"'), "calls itself 'better'"),
        (GOOD.replace("scheduler_create", "scheduler_crate"), "does not fit"),
        (GOOD.replace("settings, ctx", "settings, context"), "does not fit"),
        (GOOD.replace("    @hookimpl\n", "").replace("def scheduler_create", "def x"), "has no"),
        (GOOD.replace("def pick", "def choose"), "without pick"),
        (GOOD.replace("return self", "return None"), "returned nothing"),
        (GOOD.replace("return self", "raise OSError('disk')"), "OSError: disk"),
    ],
)
def test_a_broken_plugin_is_named_and_explained(
    host: Host, install: Any, source: str, says: str
) -> None:
    install("third-party", SCHEDULERS, {"good": "Good"}, source)
    with pytest.raises(PluginError, match=says):
        host.create("schedulers", "good")
    # The others are none the worse for it.
    assert host.create("schedulers", "round_robin") is not None


def test_a_broken_model_source_is_reported_and_skipped(host: Host, install: Any) -> None:
    install("third-party", "accelerate_core.models", {"bad": "Bad"}, "import nothing_of_that_name")
    assert {"file", "dir", "package"} <= set(host.sources())
    (problem,) = host.problems
    assert problem.name == "bad" and "nothing_of_that_name" in str(problem.error)


def test_a_reference_without_a_known_scheme_says_which_there_are(
    host: Host, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="known scheme") as caught:
        host.resolve_model("hfx:bert")
    assert "file:..." in caught.value.info.accepted
    with pytest.raises(ModelError, match=f"Did you mean dir:{tmp_path}"):
        host.resolve_model(str(tmp_path))


def test_threads_that_ask_at_once_get_all_sources(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Models are resolved in threads: who came second saw what was loaded until then."""
    load, loads, is_answered = loading.load, threading.Event(), threading.Event()

    def load_slowly(*given: Any) -> Any:
        loads.set()
        is_answered.wait(0.1)
        return load(*given)

    monkeypatch.setattr(loading, "load", load_slowly)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(host.sources)
        assert loads.wait(10)
        second = pool.submit(host.sources)
        second.add_done_callback(lambda _: is_answered.set())
        assert {"file", "dir", "package"} <= set(second.result(10)) == set(first.result(10))


def test_two_hosts_share_nothing(tmp_path: Path, install: Any) -> None:
    install("third-party", SCHEDULERS, {"good": "Good"}, GOOD)
    one = Host(cache_dir=tmp_path, state_dir=tmp_path)
    two = Host(cache_dir=tmp_path, state_dir=tmp_path)
    one.create("schedulers", "good", {"k": 1})
    assert two.create("schedulers", "good", {"k": 2}).k == 2
    assert one.plugin("schedulers", "good").k == 1


def test_a_plugin_of_several_tables_is_one_plugin_with_many_objects(host: Host) -> None:
    first = host.create("reports", "json", {"path": "a.json"})
    second = host.create("reports", "json", {"path": "b.json"})
    assert first is not second


def test_finding_reads_metadata_only(install: Any) -> None:
    install("third-party", SCHEDULERS, {"good": "Good"}, "raise SystemExit")
    (found,) = loading.find(SCHEDULERS)["good"]
    assert (found.distribution, found.version, found.summary) == ("third-party", "1.0", "A test.")


def test_a_distribution_that_says_nothing_of_itself_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keyring  # with it comes, for Python 3.11, the backport of importlib.metadata

    assert keyring
    information = tmp_path / "quiet-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: quiet\nVersion: 1\n")
    (information / "entry_points.txt").write_text("[accelerate_core.schedulers]\nquiet = q:Q\n")
    monkeypatch.syspath_prepend(tmp_path)
    (found,) = loading.find("accelerate_core.schedulers")["quiet"]
    assert found.summary == ""
