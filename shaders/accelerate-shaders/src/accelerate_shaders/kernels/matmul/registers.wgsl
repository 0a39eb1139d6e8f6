// SPDX-License-Identifier: Apache-2.0
// One invocation computes 8 rows of 16 columns in registers, from blocks of 4 x 4: a block of a
// transposed operand is transposed in registers, which costs nothing.
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
@group(0) @binding(1) var<storage, read_write> a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> b: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;

// A block of a: four rows at four depths.
fn block_a(start: u32, row: u32, depth: u32) -> mat4x4<f32> {
  if (params.transpose_a != 0) {
    let step = params.m / 4;
    let at = start + depth * step + min(row / 4, step - 1);
    return transpose(mat4x4<f32>(a[at], a[at + step], a[at + 2 * step], a[at + 3 * step]));
  }
  let step = params.k / 4;
  let at = start + depth / 4;
  // Rows past the last repeat it; store() drops them.
  let rows = min(vec4<u32>(row) + vec4<u32>(0, 1, 2, 3), vec4<u32>(params.m - 1)) * step;
  return mat4x4<f32>(a[at + rows.x], a[at + rows.y], a[at + rows.z], a[at + rows.w]);
}

// A block of b: four depths of four columns.
fn block_b(start: u32, depth: u32, column4: u32) -> mat4x4<f32> {
  let safe = min(column4, params.n / 4 - 1);
  if (params.transpose_b != 0) {
    let step = params.k / 4;
    let at = start + 4 * safe * step + depth / 4;
    return transpose(mat4x4<f32>(b[at], b[at + step], b[at + 2 * step], b[at + 3 * step]));
  }
  let step = params.n / 4;
  let at = start + depth * step + safe;
  return mat4x4<f32>(b[at], b[at + step], b[at + 2 * step], b[at + 3 * step]);
}

fn store(start: u32, row: u32, column4: u32, sums: mat4x4<f32>) {
  if (row >= params.m) {
    return;
  }
  let step = params.n / 4;
  let at = start + row * step + column4;
  y[at] = sums[0] * params.scale;
  if (column4 + 1 < step) {
    y[at + 1] = sums[1] * params.scale;
  }
  if (column4 + 2 < step) {
    y[at + 2] = sums[2] * params.scale;
  }
  if (column4 + 3 < step) {
    y[at + 3] = sums[3] * params.scale;
  }
}

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let panels = (params.n + 15) / 16;
  let tiles = panels * ((params.m + 7) / 8);
  let batch = id.x / tiles;
  if (batch >= params.batch) {
    return;
  }
  let row = id.x % tiles / panels * 8;
  let column4 = id.x % panels * 4;
  let a_start = batch * (params.a_stride / 4);
  let b_start = batch * (params.b_stride / 4);
  var sum0 = mat4x4<f32>();
  var sum1 = mat4x4<f32>();
  var sum2 = mat4x4<f32>();
  var sum3 = mat4x4<f32>();
  var sum4 = mat4x4<f32>();
  var sum5 = mat4x4<f32>();
  var sum6 = mat4x4<f32>();
  var sum7 = mat4x4<f32>();
  for (var depth = 0u; depth < params.k; depth += 4) {
    let b0 = block_b(b_start, depth, column4);
    let b1 = block_b(b_start, depth, column4 + 1);
    let b2 = block_b(b_start, depth, column4 + 2);
    let b3 = block_b(b_start, depth, column4 + 3);
    let upper = block_a(a_start, row, depth);
    let lower = block_a(a_start, row + 4, depth);
    sum0 += mat4x4<f32>(b0 * upper[0], b1 * upper[0], b2 * upper[0], b3 * upper[0]);
    sum1 += mat4x4<f32>(b0 * upper[1], b1 * upper[1], b2 * upper[1], b3 * upper[1]);
    sum2 += mat4x4<f32>(b0 * upper[2], b1 * upper[2], b2 * upper[2], b3 * upper[2]);
    sum3 += mat4x4<f32>(b0 * upper[3], b1 * upper[3], b2 * upper[3], b3 * upper[3]);
    sum4 += mat4x4<f32>(b0 * lower[0], b1 * lower[0], b2 * lower[0], b3 * lower[0]);
    sum5 += mat4x4<f32>(b0 * lower[1], b1 * lower[1], b2 * lower[1], b3 * lower[1]);
    sum6 += mat4x4<f32>(b0 * lower[2], b1 * lower[2], b2 * lower[2], b3 * lower[2]);
    sum7 += mat4x4<f32>(b0 * lower[3], b1 * lower[3], b2 * lower[3], b3 * lower[3]);
  }
  let y_start = batch * params.m * (params.n / 4);
  store(y_start, row, column4, sum0);
  store(y_start, row + 1, column4, sum1);
  store(y_start, row + 2, column4, sum2);
  store(y_start, row + 3, column4, sum3);
  store(y_start, row + 4, column4, sum4);
  store(y_start, row + 5, column4, sum5);
  store(y_start, row + 6, column4, sum6);
  store(y_start, row + 7, column4, sum7);
}
