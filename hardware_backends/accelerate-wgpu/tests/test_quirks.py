# SPDX-License-Identifier: Apache-2.0
"""Each quirk of the table is still one: when a test here fails, its row can go."""

from __future__ import annotations

import pytest
import wgpu
from accelerate_wgpu.quirks import QUIRKS, mended

SUBGROUPS = """enable subgroups;
@group(0) @binding(0) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) at: u32) {
  y[at] = subgroupAdd(f32(at));
}
"""


@pytest.fixture(scope="module")
def device() -> wgpu.GPUDevice:
    adapter = wgpu.gpu.request_adapter_sync()
    if "subgroup" not in adapter.features:
        pytest.skip("the adapter has no subgroups")
    return adapter.request_device_sync(required_features=["subgroup"])


def test_naga_refuses_to_enable_subgroups(device: wgpu.GPUDevice) -> None:
    with pytest.raises(wgpu.GPUError, match="subgroups"):
        device.create_shader_module(code=SUBGROUPS)
    device.create_shader_module(code=mended(SUBGROUPS))


def test_lines_keep_their_numbers() -> None:
    assert mended(SUBGROUPS).splitlines()[1:] == SUBGROUPS.splitlines()[1:]
    assert mended("fn main() {}") == "fn main() {}"


def test_every_row_names_its_proof() -> None:
    for quirk in QUIRKS:
        assert quirk.proof.removeprefix("tests/test_quirks.py::") in globals()
