// SPDX-License-Identifier: Apache-2.0
// One invocation makes one element at a time.
override workgroup: u32 = 64;

struct Params {
  count: u32,
  columns: u32,
  rows: u32,
  rows2: u32,
  addend_count: u32,
  has_second: u32,
  has_addend: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> table: array<f32>;
@group(0) @binding(2) var<storage, read_write> ids: array<i32>;
@group(0) @binding(3) var<storage, read> table2: array<f32>;
@group(0) @binding(4) var<storage, read_write> ids2: array<i32>;
@group(0) @binding(5) var<storage, read_write> addend: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;

fn row_of(id: i32, rows: u32) -> u32 {
  let row = select(id, id + i32(rows), id < 0);
  return u32(clamp(row, 0, i32(rows) - 1));
}

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let width = params.columns;
  for (var i = id.x; i < params.count * width; i += groups.x * workgroup) {
    let place = i / width;
    let column = i % width;
    var value = table[row_of(ids[place], params.rows) * width + column];
    if (params.has_second != 0) {
      value += table2[row_of(ids2[place], params.rows2) * width + column];
    }
    if (params.has_addend != 0) {
      value += addend[i % params.addend_count];
    }
    y[i] = value;
  }
}
