// SPDX-License-Identifier: Apache-2.0
// Numbers a device has to compute before it is believed to work.
@group(0) @binding(0) var<storage, read_write> values: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let i = id.x;
  if (i < arrayLength(&values)) {
    values[i] = values[i] * 3.0 + f32(i);
  }
}
