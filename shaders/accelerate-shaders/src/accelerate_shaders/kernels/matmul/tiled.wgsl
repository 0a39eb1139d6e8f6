// SPDX-License-Identifier: Apache-2.0
// For GPUs: one workgroup computes a tile of 8 size x 8 size, each invocation 8 x 8 of it in
// registers, whatever the sizes. 16 depths at a time are shared.
override size: u32 = 8;

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

// [16][rows / 4] of a and [16][columns / 4] of b.
var<workgroup> a_tile: array<vec4<f32>, 32 * size>;
var<workgroup> b_tile: array<vec4<f32>, 32 * size>;

fn load_a(start: u32, row: u32, depth: u32) -> f32 {
  if (row >= params.m || depth >= params.k) {
    return 0.0;
  }
  let at = select(row * params.k + depth, depth * params.m + row, params.transpose_a != 0);
  return a[start + at];
}

fn load_b(start: u32, depth: u32, column: u32) -> f32 {
  if (depth >= params.k || column >= params.n) {
    return 0.0;
  }
  let at = select(depth * params.n + column, column * params.k + depth, params.transpose_b != 0);
  return b[start + at];
}

// Where the i-th vec4 of a tile lies: its depth, and its place among `count`. Neighbours read
// neighbouring elements of memory.
fn spot(i: u32, count: u32, depth_is_contiguous: bool) -> vec2<u32> {
  return select(vec2<u32>(i / count, i % count), vec2<u32>(i % 16, i / 16), depth_is_contiguous);
}

fn store(start: u32, row: u32, column: u32, sums: vec4<f32>) {
  if (row >= params.m) {
    return;
  }
  for (var i = 0u; i < min(4, max(params.n, column) - column); i++) {
    y[start + row * params.n + column + i] = sums[i] * params.scale;
  }
}

@compute @workgroup_size(size, size)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
  @builtin(local_invocation_index) index: u32,
) {
  let first_row = group.y * 8 * size;
  let first_column = group.x * 8 * size;
  let a_start = group.z * params.a_stride;
  let b_start = group.z * params.b_stride;
  let pitch = 2 * size;
  var left0 = vec4<f32>();
  var right0 = vec4<f32>();
  var left1 = vec4<f32>();
  var right1 = vec4<f32>();
  var left2 = vec4<f32>();
  var right2 = vec4<f32>();
  var left3 = vec4<f32>();
  var right3 = vec4<f32>();
  var left4 = vec4<f32>();
  var right4 = vec4<f32>();
  var left5 = vec4<f32>();
  var right5 = vec4<f32>();
  var left6 = vec4<f32>();
  var right6 = vec4<f32>();
  var left7 = vec4<f32>();
  var right7 = vec4<f32>();
  for (var depth = 0u; depth < params.k; depth += 16) {
    for (var i = index; i < 16 * pitch; i += size * size) {
      let at = spot(i, pitch, params.transpose_a == 0);
      let d = depth + at.x;
      let row = first_row + 4 * at.y;
      a_tile[at.x * pitch + at.y] = vec4<f32>(
        load_a(a_start, row, d),
        load_a(a_start, row + 1, d),
        load_a(a_start, row + 2, d),
        load_a(a_start, row + 3, d),
      );
    }
    for (var i = index; i < 16 * pitch; i += size * size) {
      let at = spot(i, pitch, params.transpose_b != 0);
      let d = depth + at.x;
      let column = first_column + 4 * at.y;
      b_tile[at.x * pitch + at.y] = vec4<f32>(
        load_b(b_start, d, column),
        load_b(b_start, d, column + 1),
        load_b(b_start, d, column + 2),
        load_b(b_start, d, column + 3),
      );
    }
    workgroupBarrier();
    for (var d = 0u; d < 16; d++) {
      let u = a_tile[d * pitch + local.y];
      let v = a_tile[d * pitch + local.y + size];
      let p = b_tile[d * pitch + local.x];
      let q = b_tile[d * pitch + local.x + size];
      left0 += u.x * p;
      right0 += u.x * q;
      left1 += u.y * p;
      right1 += u.y * q;
      left2 += u.z * p;
      right2 += u.z * q;
      left3 += u.w * p;
      right3 += u.w * q;
      left4 += v.x * p;
      right4 += v.x * q;
      left5 += v.y * p;
      right5 += v.y * q;
      left6 += v.z * p;
      right6 += v.z * q;
      left7 += v.w * p;
      right7 += v.w * q;
    }
    workgroupBarrier();
  }
  let y_start = group.z * params.m * params.n;
  let row = first_row + 4 * local.y;
  let more = row + 4 * size;
  let column = first_column + 4 * local.x;
  store(y_start, row, column, left0);
  store(y_start, row, column + 4 * size, right0);
  store(y_start, row + 1, column, left1);
  store(y_start, row + 1, column + 4 * size, right1);
  store(y_start, row + 2, column, left2);
  store(y_start, row + 2, column + 4 * size, right2);
  store(y_start, row + 3, column, left3);
  store(y_start, row + 3, column + 4 * size, right3);
  store(y_start, more, column, left4);
  store(y_start, more, column + 4 * size, right4);
  store(y_start, more + 1, column, left5);
  store(y_start, more + 1, column + 4 * size, right5);
  store(y_start, more + 2, column, left6);
  store(y_start, more + 2, column + 4 * size, right6);
  store(y_start, more + 3, column, left7);
  store(y_start, more + 3, column + 4 * size, right7);
}
