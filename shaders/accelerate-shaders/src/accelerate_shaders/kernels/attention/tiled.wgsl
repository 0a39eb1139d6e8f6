// SPDX-License-Identifier: Apache-2.0
// For GPUs: one workgroup of 64 invocations computes 16 queries of one head, 64 keys at a time.
// Scores are shared; sums are kept in y.
struct Params {
  batch: u32,
  heads: u32,
  kv_heads: u32,
  q_length: u32,
  kv_length: u32,
  head_size: u32,
  v_size: u32,
  has_mask: u32,
  causal: u32,
  scale: f32,
  q_strides: vec4<u32>,
  k_strides: vec4<u32>,
  v_strides: vec4<u32>,
  mask_strides: vec4<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> q: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> k: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> v: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> mask: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;

// Below every score that a mask made of the least f32 leaves.
const lowest = -3.4028234e38;

// Keys that a row sees: those before this.
fn keys_of(row: u32) -> u32 {
  if (params.causal == 0) {
    return params.kv_length;
  }
  return min(u32(max(i32(row + 1 + params.kv_length) - i32(params.q_length), 0)), params.kv_length);
}

const rows = 16u;
const lanes = 64u;
// One more than rows, so that neighbours use different banks of memory.
const pitch = 17u;

var<workgroup> q_tile: array<vec4<f32>, 512>;  // [head_size / 4][rows]
var<workgroup> powers: array<f32, lanes * pitch>;  // [keys][rows]
var<workgroup> scratch: array<f32, lanes>;  // [4][rows]
var<workgroup> fades: array<f32, rows>;

// Fade what y holds of a row, unless nothing was written yet, and add to it.
fn add(row: u32, at: u32, fade: f32, more: vec4<f32>, is_new: bool) {
  if (row >= params.q_length) {
    return;
  }
  if (is_new) {
    y[at] = more;
  } else {
    y[at] = y[at] * fade + more;
  }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let first = group.x * rows;
  let head = group.y;
  let batch = group.z;
  let kv_head = head / (params.heads / params.kv_heads);
  let size4 = params.head_size / 4;
  let v_size4 = params.v_size / 4;
  let last = min(first + rows, params.q_length) - 1;
  let q_start = dot(vec2<u32>(batch, head), params.q_strides.xz) / 4;
  let k_start = dot(vec2<u32>(batch, kv_head), params.k_strides.xz) / 4;
  let v_start = dot(vec2<u32>(batch, kv_head), params.v_strides.xz) / 4;
  let y_row = params.heads * v_size4;
  let y_start = (batch * params.q_length + first) * y_row + head * v_size4;
  for (var i = local; i < rows * size4; i += lanes) {
    let row = min(first + i / size4, last);
    q_tile[i % size4 * rows + i / size4] = q[q_start + row * (params.q_strides.y / 4) + i % size4];
  }
  // Softmax: an invocation has one row and a quarter of the keys.
  let own = local % rows;
  let own_row = min(first + own, last);
  let visible = keys_of(own_row);
  let mask_at = dot(vec3<u32>(batch, head, own_row), params.mask_strides.xyz);
  var largest = lowest;
  var sum = 0.0;
  let end = keys_of(last);
  for (var start = 0u; start < end; start += lanes) {
    workgroupBarrier();
    let k_at = k_start + min(start + local, params.kv_length - 1) * (params.k_strides.y / 4);
    var scores = mat4x4<f32>();
    for (var i = 0u; i < size4; i++) {
      let key = k[k_at + i];
      let at = i * rows;
      scores += mat4x4<f32>(
        key * mat4x4<f32>(q_tile[at], q_tile[at + 1], q_tile[at + 2], q_tile[at + 3]),
        key * mat4x4<f32>(q_tile[at + 4], q_tile[at + 5], q_tile[at + 6], q_tile[at + 7]),
        key * mat4x4<f32>(q_tile[at + 8], q_tile[at + 9], q_tile[at + 10], q_tile[at + 11]),
        key * mat4x4<f32>(q_tile[at + 12], q_tile[at + 13], q_tile[at + 14], q_tile[at + 15]),
      );
    }
    for (var i = 0u; i < rows; i++) {
      powers[local * pitch + i] = scores[i / 4][i % 4] * params.scale;
    }
    workgroupBarrier();
    let quarter = local / rows * 16;
    var most = lowest;
    for (var i = quarter; i < quarter + 16; i++) {
      let key = start + i;
      if (key < visible) {
        if (params.has_mask != 0) {
          powers[i * pitch + own] += mask[mask_at + key];
        }
        most = max(most, powers[i * pitch + own]);
      }
    }
    scratch[local] = most;
    workgroupBarrier();
    let now = max(
      max(largest, max(scratch[own], scratch[own + rows])),
      max(scratch[own + 2 * rows], scratch[own + 3 * rows]),
    );
    workgroupBarrier();
    var total = 0.0;
    for (var i = quarter; i < quarter + 16; i++) {
      let power = select(0.0, exp(powers[i * pitch + own] - now), start + i < visible);
      powers[i * pitch + own] = power;
      total += power;
    }
    scratch[local] = total;
    let fade = exp(largest - now);
    fades[own] = fade;
    largest = now;
    workgroupBarrier();
    sum = sum * fade + scratch[own] + scratch[own + rows] + scratch[own + 2 * rows] +
      scratch[own + 3 * rows];
    // Four rows of four columns at a time.
    for (var i = local; i < 4 * v_size4; i += lanes) {
      let row = i / v_size4 * 4;
      let column = i % v_size4;
      var part0 = vec4<f32>();
      var part1 = vec4<f32>();
      var part2 = vec4<f32>();
      var part3 = vec4<f32>();
      let v_at = v_start + start * (params.v_strides.y / 4) + column;
      for (var j = 0u; j < min(lanes, end - start); j++) {
        let value = v[v_at + j * (params.v_strides.y / 4)];
        let at = j * pitch + row;
        part0 += powers[at] * value;
        part1 += powers[at + 1] * value;
        part2 += powers[at + 2] * value;
        part3 += powers[at + 3] * value;
      }
      let y_at = y_start + row * y_row + column;
      add(first + row, y_at, fades[row], part0, start == 0);
      add(first + row + 1, y_at + y_row, fades[row + 1], part1, start == 0);
      add(first + row + 2, y_at + 2 * y_row, fades[row + 2], part2, start == 0);
      add(first + row + 3, y_at + 3 * y_row, fades[row + 3], part3, start == 0);
    }
  }
  workgroupBarrier();
  fades[own] = select(0.0, 1.0 / sum, sum > 0);
  workgroupBarrier();
  for (var i = local; i < 4 * v_size4; i += lanes) {
    let row = i / v_size4 * 4;
    let y_at = y_start + row * y_row + i % v_size4;
    for (var j = 0u; j < 4; j++) {
      add(first + row + j, y_at + j * y_row, fades[row + j], vec4<f32>(), end == 0);
    }
  }
}
