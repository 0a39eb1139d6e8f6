# SPDX-License-Identifier: Apache-2.0
"""Kernels are read from folders, and every fault names the file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import accelerate_shaders
import pytest
from accelerate_plan.catalogue import load_catalogue, read_folders
from accelerate_plan.kernels import Device, Kernel, grid_of, is_for

from accelerate_core.errors import PluginError, Unsupported

KERNELS = Path(accelerate_shaders.__file__).parent / "kernels"

DOUBLE = """
operation = "double"
summary = "y = 2 x."
tolerance = 1e-6
bindings = [{ name = "x", role = "input" }, { name = "y", role = "output" }]
params = { count = "u32" }
[variants.plain]
grid = ["count / workgroup", "1", "1"]
constants = { workgroup = 8 }
"""

WGSL = """
override workgroup: u32 = 8;
struct Params { count: u32, }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x < params.count) { y[id.x] = 2 * x[id.x]; }
}
"""

FASTER = """
operation = "double"
[variants.plain]
grid = ["count / 4 / workgroup", "1", "1"]
when = "count % 4 == 0"
constants = { workgroup = 8 }
features = ["subgroups"]
limits = { maxComputeWorkgroupStorageSize = 32768 }
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(plugin: str, toml: str, **files: str) -> Path:
        folder = tmp_path / plugin / "double"
        folder.mkdir(parents=True)
        (folder / "kernel.toml").write_text(toml)
        for name, text in files.items():
            (folder / f"{name}.wgsl").write_text(text)
        return folder.parent

    return write


def test_a_kernel_is_read(write: Callable[..., Path]) -> None:
    folder = write("mine", DOUBLE, plain=WGSL)
    catalogue = read_folders([("mine", folder)])
    kernel = catalogue.kernel("double")
    assert [(one.name, one.access) for one in kernel.bindings] == [
        ("x", "read_write"),
        ("y", "read_write"),
    ]
    assert kernel.variant("plain").source == WGSL
    assert catalogue.folders["double"] == (folder / "double",)


@pytest.mark.parametrize("order", [("mine", "fast"), ("fast", "mine")])
def test_another_plugin_adds_variants(write: Callable[..., Path], order: tuple[str, str]) -> None:
    folders = {"mine": write("mine", DOUBLE, plain=WGSL), "fast": write("fast", FASTER, plain=WGSL)}
    catalogue = read_folders([(name, folders[name]) for name in order])
    kernel = catalogue.kernel("double")
    assert [one.name for one in kernel.variants] == ["plain", "fast/plain"]
    assert catalogue.folders["double"] == (folders["mine"] / "double", folders["fast"] / "double")


def test_a_variant_is_for_what_it_says(write: Callable[..., Path]) -> None:
    folders = [("mine", write("mine", DOUBLE, plain=WGSL))]
    folders.append(("fast", write("fast", FASTER, plain=WGSL)))
    kernel = read_folders(folders).kernel("double")
    fast = kernel.variant("fast/plain")
    able = Device(
        features=frozenset({"subgroups"}), limits={"maxComputeWorkgroupStorageSize": 32768}
    )
    assert is_for(fast, {"count": 8}, able)
    assert not is_for(fast, {"count": 7}, able)
    assert not is_for(fast, {"count": 8}, Device(limits=able.limits))
    assert not is_for(fast, {"count": 8}, Device(features=able.features))
    assert is_for(kernel.variant("plain"), {"count": 7}, Device())


def test_grids_are_rounded_up_and_limited(write: Callable[..., Path]) -> None:
    variant = (
        read_folders([("mine", write("mine", DOUBLE, plain=WGSL))]).kernel("double").variants[0]
    )
    assert grid_of(variant, {"count": 17}, {"workgroup": 8}, Device()) == (3, 1, 1)
    assert grid_of(variant, {"count": 0}, {"workgroup": 8}, Device()) == (1, 1, 1)
    with pytest.raises(Unsupported, match="65535"):
        grid_of(variant, {"count": 65535 * 8 + 1}, {"workgroup": 8}, Device())


FAULTS: dict[str, tuple[str, str, str]] = {
    "no TOML": ("operation = double", WGSL, "cannot be read"),
    "unknown key": (DOUBLE.replace("summary", "sumary"), WGSL, "sumary"),
    "no tolerance": (DOUBLE.replace("tolerance = 1e-6", ""), WGSL, "tolerance"),
    "unknown role": (DOUBLE.replace('role = "input"', 'role = "in"'), WGSL, "role"),
    "unknown type of param": (DOUBLE.replace('"u32"', '"f16"'), WGSL, "f16"),
    "wrong type of tolerance": (DOUBLE.replace("1e-6", '"small"'), WGSL, "tolerance"),
    "unknown suits": (DOUBLE + 'suits = "gpus"', WGSL, "suits"),
    "no variant": (DOUBLE[: DOUBLE.index("[variants")], WGSL, "variants"),
    "no file": (DOUBLE + 'file = "other.wgsl"', WGSL, "other.wgsl"),
    "another param": (DOUBLE, WGSL.replace("count: u32", "count: i32"), "struct Params"),
    "another access": (DOUBLE, WGSL.replace("read_write> x", "read> x"), "binding 1"),
    "another name": (DOUBLE, WGSL.replace("> y:", "> z:"), "binding 2"),
    "a binding too few": (DOUBLE, WGSL.replace("@binding(2)", "@binding(3)"), "not declared"),
    "an override without a value": (DOUBLE, WGSL + "override more: u32 = 1;", "more"),
    "a constant without override": (DOUBLE, WGSL.replace("override", "const"), "overrides"),
    "specialise of no param": (DOUBLE + 'specialise = ["size"]', WGSL, "size"),
    "a specialised param without override": (
        DOUBLE + 'specialise = ["count"]',
        WGSL,
        "overrides",
    ),
    "tune of no constant": (DOUBLE + "tune = { tile = [1] }", WGSL, "tile"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_names_the_file(write: Callable[..., Path], fault: str) -> None:
    toml, source, word = FAULTS[fault]
    folder = write("mine", toml, plain=source)
    with pytest.raises(PluginError) as caught:
        read_folders([("mine", folder)])
    info = caught.value.info
    assert (info.where or "").startswith(str(folder / "double")), info.where
    assert word in f"{info.message} {info.where}"


def test_definitions_collide_and_extensions_need_one(write: Callable[..., Path]) -> None:
    mine, other = write("mine", DOUBLE, plain=WGSL), write("other", DOUBLE, plain=WGSL)
    with pytest.raises(PluginError, match="'mine' and 'other'") as caught:
        read_folders([("mine", mine), ("other", other)])
    assert caught.value.info.hint
    with pytest.raises(PluginError, match="nothing defines") as caught:
        read_folders([("fast", write("fast", FASTER, plain=WGSL))])
    assert "fast" in (caught.value.info.where or "")


def test_unknown_operations_and_variants_name_the_known(write: Callable[..., Path]) -> None:
    catalogue = read_folders([("mine", write("mine", DOUBLE, plain=WGSL))])
    with pytest.raises(PluginError) as caught:
        catalogue.kernel("triple")
    assert caught.value.info.accepted == ("double",) and caught.value.info.hint
    kernel: Kernel = catalogue.kernel("double")
    for wrong in (kernel.variant, kernel.binding):
        with pytest.raises(PluginError) as caught:
            wrong("z")
        assert caught.value.info.accepted


class Installed:
    """The host's plugins, as `load_catalogue` sees them."""

    def __init__(self, **folders: Path) -> None:
        self.folders = folders

    def add_family(self, family: Any) -> None:
        assert family.group == "accelerate_plan.kernels"

    def names(self, family: str) -> list[str]:
        return sorted([*self.folders, "absent"])

    def create(self, family: str, name: str) -> tuple[Path, ...]:
        if name == "absent":
            raise PluginError("no folder today")
        return (self.folders[name],)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "double/kernel.toml").write_text("operation"),
        lambda folder: (folder / "double/plain.wgsl").unlink(),
        lambda folder: (folder / "double/plain.wgsl").write_text("fn main() {}"),
    ],
    ids=["toml", "file", "wgsl"],
)
def test_a_broken_plugin_is_skipped_and_said(
    write: Callable[..., Path], caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], Any]
) -> None:
    folders = {"mine": write("mine", DOUBLE, plain=WGSL), "fast": write("fast", FASTER, plain=WGSL)}
    spoil(folders["fast"])
    catalogue = load_catalogue(Installed(**folders))
    assert [one.name for one in catalogue.kernel("double").variants] == ["plain"]
    assert "skipped kernels of 'absent': no folder today" in caplog.text
    assert "skipped kernels of 'fast'" in caplog.text and str(folders["fast"]) in caplog.text


def test_two_that_define_one_operation_stop_everything(write: Callable[..., Path]) -> None:
    folders = {name: write(name, DOUBLE, plain=WGSL) for name in ("mine", "other")}
    with pytest.raises(PluginError, match="'mine' and 'other'"):
        load_catalogue(Installed(**folders))


def test_a_copy_of_our_kernels_is_read_from_elsewhere(tmp_path: Path) -> None:
    shutil.copytree(KERNELS, tmp_path / "kernels")
    ours, copied = (
        read_folders([("shaders", folder)]) for folder in (KERNELS, tmp_path / "kernels")
    )
    assert ours.kernels == copied.kernels and len(ours.kernels) >= 10
