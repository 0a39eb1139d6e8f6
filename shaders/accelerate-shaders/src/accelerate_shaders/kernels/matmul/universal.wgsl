// SPDX-License-Identifier: Apache-2.0
// One invocation computes 4 rows of 4 columns, whatever the sizes.
override workgroup: u32 = 8;

struct Params {
  batch: u32,
  m: u32,
  n: u32,
  k: u32,
  a_stride: u32,
  b_stride: u32,
  transpose_a: u32,
  transpose_b: u32,
  scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> a: array<f32>;
@group(0) @binding(2) var<storage, read_write> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let panels = (params.n + 3) / 4;
  let tiles = panels * ((params.m + 3) / 4);
  let batch = id.x / tiles;
  if (batch >= params.batch) {
    return;
  }
  let row = id.x % tiles / panels * 4;
  let column = id.x % panels * 4;
  // Elements between rows, columns and depths.
  let a_row = select(params.k, 1u, params.transpose_a != 0);
  let a_step = select(1u, params.m, params.transpose_a != 0);
  let b_column = select(1u, params.k, params.transpose_b != 0);
  let b_step = select(params.n, 1u, params.transpose_b != 0);
  // Rows and columns past the last repeat it, and are not stored.
  let four = vec4<u32>(0, 1, 2, 3);
  let a_at = batch * params.a_stride + min(row + four, vec4<u32>(params.m - 1)) * a_row;
  let b_at = batch * params.b_stride + min(column + four, vec4<u32>(params.n - 1)) * b_column;
  var sums = mat4x4<f32>();
  for (var i = 0u; i < params.k; i++) {
    let p = a_at + i * a_step;
    let q = b_at + i * b_step;
    let values = vec4<f32>(b[q.x], b[q.y], b[q.z], b[q.w]);
    sums += mat4x4<f32>(values * a[p.x], values * a[p.y], values * a[p.z], values * a[p.w]);
  }
  for (var i = 0u; i < 16; i++) {
    let r = row + i / 4;
    let c = column + i % 4;
    if (r < params.m && c < params.n) {
      y[(batch * params.m + r) * params.n + c] = sums[i / 4][i % 4] * params.scale;
    }
  }
}
