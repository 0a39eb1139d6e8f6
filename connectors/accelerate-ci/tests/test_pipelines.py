# SPDX-License-Identifier: Apache-2.0
"""Pipeline files: their systems' own schemas take them, and what GitHub's says is done for real."""

from __future__ import annotations

import os
import re
import shlex
import statistics
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import duckdb
import numpy as np
import pytest
import tree_sitter_groovy
import tree_sitter_kotlin
from accelerate_ci.commands import app
from accelerate_ci.providers import ARTIFACT
from check_jsonschema import main as check_jsonschema
from click.testing import CliRunner as ClickRunner
from ruamel.yaml import YAML
from tree_sitter import Language, Parser
from typer.testing import CliRunner

from accelerate_core.assembly import make_store
from accelerate_core.assets import AssetStore
from accelerate_core.cli import main
from accelerate_core.config import parse
from accelerate_core.errors import ConfigError
from accelerate_core.host import Host
from accelerate_core.testing.models import tiny_matmul

from .jobs import HEADS, be_in, comments, environment, states
from .servers import github

ROOT = Path(__file__).parents[3]
BIN = Path(sys.executable).parent
#: Schemas that the vendors publish, as check-jsonschema carries them.
SCHEMAS = {
    # Its patterns are none of Unicode's.
    "azure": (
        "azure-pipelines",
        *["--data-transform", "azure-pipelines", "--regex-variant", "nonunicode"],
    ),
    "bitbucket": ("bitbucket-pipelines",),
    "circleci": ("circle-ci",),
    "github": ("github-workflows",),
    "gitlab": ("gitlab-ci", "--data-transform", "gitlab-ci"),
    "travis": ("travis",),
}
TOML = """
name = "tiny"
[store]
use = "duckdb"
path = "results.duckdb"
[[models]]
name = "tiny"
source = "file:tiny.onnx"
[[benchmarks]]
targets = ["cpu"]
repeats = 6
[[reports]]
use = "json"
path = "report.json"
[[connectors]]
use = "ci"
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be in something like a clone, with a tiny model in it."""
    clone = tmp_path / "clone"
    clone.mkdir()
    assets = AssetStore(tmp_path / "assets")
    spec = tiny_matmul(assets)
    (clone / "tiny.onnx").write_bytes(assets.path(spec.assets[0].sha256).read_bytes())
    (clone / "bench.toml").write_text(TOML)
    monkeypatch.chdir(clone)
    return clone


def made(system: str, *options: str) -> str:
    output = Path("out") / f"{system}.yml"
    command = ["init", system, "bench.toml", "--output", str(output), *options]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return output.read_text()


@pytest.mark.parametrize("system", SCHEMAS)
def test_the_schema_of_the_system_takes_it(system: str) -> None:
    made(system, "--branch", "1.0", "--install", "a: b # c\n- d")
    name, *more = SCHEMAS[system]
    command = ["--builtin-schema", f"vendor.{name}", *more, f"out/{system}.yml"]
    done = ClickRunner().invoke(check_jsonschema, command)
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("system", "grammar", "quotes", "line"),
    [
        ("jenkins", tree_sitter_groovy, "'''", r"""echo "$HOME\\n" \'100%\'"""),
        ("teamcity", tree_sitter_kotlin, '"""', """echo "${'$'}HOME\\n" '100%%'"""),
    ],
)
def test_what_no_schema_describes_is_of_its_grammar(
    system: str, grammar: Any, quotes: str, line: str
) -> None:
    parser = Parser(Language(grammar.language()))

    def is_right(text: str) -> bool:
        return not parser.parse(text.encode()).root_node.has_error

    text = made(system, "--install", r"""echo "$HOME\n" '100%'""")
    assert is_right(text) and f" {line}\n" in text
    # The grammars are lenient in parts; a text that ends early, or too late, they see.
    assert not is_right(text.replace(quotes, "", 1)) and not is_right(text.replace("{", "", 1))


def test_shells_take_every_command(system: str = "github") -> None:
    for script in _scripts(YAML(typ="safe").load(made(system))):
        subprocess.run(["bash", "-n", "-c", script], check=True)


def test_a_file_that_is_there_is_kept() -> None:
    made("gitlab")
    with pytest.raises(ConfigError, match="a file already"):
        made("gitlab")
    made("gitlab", "--force")


@pytest.mark.parametrize("system", [*SCHEMAS, "jenkins", "teamcity"])
def test_what_is_to_be_done_next_is_said(system: str) -> None:
    command = ["init", system, "bench.toml"]
    said = CliRunner().invoke(app, command, catch_exceptions=False).output
    said = " ".join(said.split())
    assert "runs bench.toml on" in said and "Commit it." in said
    assert "Before there were 3 runs there, nothing is called slower." in said
    tokens = {
        "bitbucket": "BITBUCKET_ACCESS_TOKEN",
        "circleci": "CIRCLE_TOKEN",
        "gitlab": "GITLAB_TOKEN",
        "jenkins": '"accelerate-jenkins"',
        "teamcity": "env.TEAMCITY_TOKEN",
        "travis": "GITHUB_TOKEN",
    }
    assert tokens.get(system, "") in said
    assert "Made by" not in said and "import" not in said


def test_a_file_without_the_connector_is_told_of_it(folder: Path) -> None:
    said = CliRunner().invoke(app, ["init", "travis", "bench.toml"]).output
    assert "[[connectors]]" not in said
    (folder / "bench.toml").write_text(TOML.partition("[[connectors]]")[0])
    said = CliRunner().invoke(app, ["init", "travis", "bench.toml", "--force"]).output
    table = said.partition("Add this to bench.toml, for results in the job:\n")[2]
    assert table.startswith('\n[[connectors]]\nuse = "ci"\n')  # as it is pasted


def test_the_baseline_is_of_the_branch_that_is_merged_into(
    service: github.GitHub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    known = environment("github-pull", service.url, tmp_path)
    be_in(known | {"GITHUB_BASE_REF": "release/1"}, monkeypatch)
    for words, wanted in (((), "release/1"), (("--branch", "main"), "main")):
        assert main(["ci", "baseline", *words]) == 0
        out, err = capsys.readouterr()
        assert out == "" and f"No good run of {wanted} has kept results.duckdb" in err
        assert service.requests[-1].query["branch"] == [wanted]


def test_what_the_file_uses_is_installed(folder: Path) -> None:
    more = '[[connectors]]\nuse = "slack"\nchannel = "#a"\ntoken = "env:A"\n'
    text = TOML.replace('["cpu"]', '["cpu", "webgpu/ort:chromium", "nobodys"]')
    (folder / "bench.toml").write_text(text + more)
    (command,) = re.findall("pip install (.*)", made("github"))
    names = command.split()
    assert len(set(names)) == len(names) and names[-2:] == ["accelerate-slack", "accelerate-webgpu"]
    assert {"accelerate-cpu", "accelerate-ci", "accelerate-insights"} < {*names}
    assert "pip install" not in made("gitlab", "--install", "make setup")


def test_gitlab_gives_branches_to_caches_as_it_calls_them() -> None:
    """A key with a slash is none ("CI/CD YAML syntax reference", cache:key)."""
    (one,) = YAML(typ="safe").load(made("gitlab", "--branch", "Release/1.0_x")).values()
    assert one["cache"]["fallback_keys"] == ["accelerate-release-1-0-x"]


@pytest.mark.parametrize("system", ["azure", "bitbucket", "travis"])
def test_the_next_run_has_the_database_of_the_one_before(system: str, tmp_path: Path) -> None:
    """Where a script puts it into the cache, and takes it out of there."""
    file = YAML(typ="safe").load(made(system))
    if system == "azure":
        scripts = [one["script"] for one in file["steps"] if "script" in one][1:3]
    elif system == "bitbucket":
        scripts = file["definitions"]["steps"][0]["step"]["script"][1:-2]
    else:
        scripts = file["script"]
    script = "\n".join(scripts).replace("$(Pipeline.Workspace)", str(tmp_path / "kept"))
    accel = 'accel() { if [ "$1" = run ]; then echo run >> results.duckdb; fi; }\n'
    for _ in range(3):
        Path("results.duckdb").unlink(missing_ok=True)  # a fresh clone
        done = subprocess.run(
            ["bash", "-e", "-c", accel + script],
            env={"PATH": os.environ["PATH"], "BITBUCKET_BRANCH": "feature/x"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    assert Path("results.duckdb").read_text() == "run\n" * 3


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('[store]\nuse = "duckdb"\npath = "results.duckdb"\n', "", "without a database"),
        ('path = "results.duckdb"', 'path = "../r.duckdb"', "outside of the folder"),
    ],
)
def test_what_cannot_work_is_refused(folder: Path, old: str, new: str, said: str) -> None:
    (folder / "bench.toml").write_text(TOML.replace(old, new))
    with pytest.raises(ConfigError, match=said):
        made("github")


@pytest.mark.parametrize("branch", ["", "a b", "release/*", 'x"', "@main", "main\n"])
def test_a_branch_that_no_file_can_name_is_refused(branch: str) -> None:
    with pytest.raises(ConfigError, match="cannot stand for one branch") as caught:
        made("github", "--branch", branch)
    assert caught.value.info.where == "--branch" and not Path("out").exists()


def test_the_projects_own_workflow_is_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """What its first line says makes it."""
    workflow = ROOT / ".github/workflows/benchmarks.yml"
    text = workflow.read_text()
    command = shlex.split(text.splitlines()[0].removeprefix("# Made by: "))
    assert command[:3] == ["accel", "ci", "init"]
    output = Path("fresh.yml").absolute()
    monkeypatch.chdir(ROOT)
    CliRunner().invoke(app, [*command[2:], "--output", str(output)], catch_exceptions=False)
    assert text == output.read_text(), "make it again, with --force"


def _scripts(workflow: Any) -> list[str]:
    (one,) = workflow["jobs"].values()
    return [step["run"] for step in one["steps"] if "run" in step]


@pytest.fixture
def service() -> Iterator[github.GitHub]:
    with github.GitHub() as made:
        yield made


@pytest.mark.parametrize("shell", ["bash", "dash"])
@pytest.mark.parametrize(
    ("known", "verdict", "wanted", "code"),
    [
        ("", 0, "", 0),  # nothing to compare with
        ("run-1", 0, "compare run-1 latest\nci comment comparison.md\n", 0),
        ("run-1", 1, "compare run-1 latest\nci comment comparison.md\n", 1),
        ("run-1", 2, "compare run-1 latest\n", 1),  # it cannot be compared, and nothing is shown
    ],
)
def test_the_gate_ends_as_the_comparison_did(
    shell: str, known: str, verdict: int, wanted: str, code: int
) -> None:
    """Whatever the comparison said, its comment is made before the job ends."""
    *_, gate = _scripts(YAML(typ="safe").load(made("github")))
    accel = f"""accel() {{
        case "$1 $2" in
            "ci baseline") echo {known} ;;
            "compare "*)
                echo "$1 $2 $3"
                test {verdict} = 2 || echo table > comparison.md
                return {verdict} ;;
            *) echo "$1 $2 $3" ;;
        esac
    }}
    """
    done = subprocess.run([shell, "-e", "-c", accel + gate], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == (wanted, code), done.stderr


def chain(path: Path, layers: int) -> None:
    """Write a model of matrix products one after another: layers say how long it takes."""
    from onnx import TensorProto, helper, numpy_helper, save

    weights = numpy_helper.from_array(np.eye(256, dtype=np.float32), "w")
    names = ["x", *(f"h{number}" for number in range(1, layers)), "y"]
    nodes = [helper.make_node("MatMul", [names[i], "w"], [names[i + 1]]) for i in range(layers)]
    ends = [helper.make_tensor_value_info(one, TensorProto.FLOAT, ["batch", 256]) for one in "xy"]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], [weights])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def remembered(path: Path, runs: int) -> None:
    """Put runs after the only one of a database: half as fast, and steady.

    So a model that became no slower is not taken for one, whatever the machine does meanwhile.
    """
    store = make_store(parse({"store": {"use": "duckdb", "path": str(path)}}), Host())
    (run,) = store.runs()
    (one,) = store.summary(run.id).measurements
    with store.transaction():
        for number in range(1, runs + 1):
            at = run.started_at + timedelta(milliseconds=number)
            steady = 2 * statistics.median(one.samples_ms) * (1 + number % 3 / 50)
            store.save_run(attrs.evolve(run, id=f"run-{number}", started_at=at))
            store.save_measurement(
                attrs.evolve(
                    one,
                    id=f"cell-{number}",
                    run_id=f"run-{number}",
                    started_at=at,
                    latency_ms=steady,
                    samples_ms=tuple(steady * (1 + each % 3 / 50) for each in range(20)),
                )
            )
    store.close()


def test_the_workflow_does_what_it_says(
    service: github.GitHub, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What main measured is fetched and compared with; what became slower closes the gate."""
    (folder / "bench.toml").write_text(
        TOML.replace("repeats = 6", "batch_sizes = [64]\nrepeats = 20")
    )
    _, run, gate = _scripts(YAML(typ="safe").load(made("github")))
    summary = tmp_path / "summary.md"

    def job(name: str, **more: str) -> None:
        """Run what the job runs first, in this process: that spares a start of Python."""
        known = environment(name, service.url, tmp_path) | more
        known["ACCELERATE_CACHE_DIR"] = str(tmp_path / "cache")
        known["ACCELERATE_STATE_DIR"] = str(tmp_path / "state")
        be_in(known, monkeypatch)
        assert main(shlex.split(run)[1:]) == 0

    chain(folder / "tiny.onnx", 1)
    job("github-push", GITHUB_REF_NAME="main", GITHUB_SHA=HEADS["github"])
    assert "1 ok" in summary.read_text() and not comments(service)
    remembered(folder / "results.duckdb", 9)
    database = (folder / "results.duckdb").read_bytes()
    service.add_artifact(service.add_run(), ARTIFACT, {"results.duckdb": database})

    chain(folder / "tiny.onnx", 400)
    monkeypatch.setenv("PATH", f"{BIN}{os.pathsep}{os.environ['PATH']}")
    for _ in range(3):  # where others make a machine very uneven, it may stay undecided
        job("github-pull")
        summary.unlink()  # each step has its own
        # As GitHub runs it ("Workflow syntax": shell).
        done = subprocess.run(["bash", "-e", "-c", gate], capture_output=True, text=True)
        if done.returncode:
            break
    assert done.returncode == 1, done.stdout + done.stderr
    told, comparison = comments(service)
    assert "1 ok" in told and "**WORSE: 1 worse**" in comparison
    assert {state for _, state in states(service)} == {"success"}
    assert "**WORSE: 1 worse**" in summary.read_text()
    with duckdb.connect("results.duckdb", read_only=True) as opened:
        ask = "SELECT ci->>'branch' FROM runs ORDER BY sequence DESC LIMIT 1"
        assert opened.execute(ask).fetchall() == [("feature/fast",)]
