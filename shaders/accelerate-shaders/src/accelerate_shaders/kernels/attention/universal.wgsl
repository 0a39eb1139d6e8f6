// SPDX-License-Identifier: Apache-2.0
// One invocation computes one query of one head, 4 keys at a time, whatever the sizes and strides.
// Sums are kept in y.
override workgroup: u32 = 8;

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
@group(0) @binding(1) var<storage, read_write> q: array<f32>;
@group(0) @binding(2) var<storage, read_write> k: array<f32>;
@group(0) @binding(3) var<storage, read_write> v: array<f32>;
@group(0) @binding(4) var<storage, read_write> mask: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

// Below every score that a mask made of the least f32 leaves.
const lowest = -3.4028234e38;

// Keys that a row sees: those before this.
fn keys_of(row: u32) -> u32 {
  if (params.causal == 0) {
    return params.kv_length;
  }
  return min(u32(max(i32(row + 1 + params.kv_length) - i32(params.q_length), 0)), params.kv_length);
}

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let row = id.x % params.q_length;
  let head = id.x / params.q_length % params.heads;
  let batch = id.x / params.q_length / params.heads;
  if (batch >= params.batch) {
    return;
  }
  let kv_head = head / (params.heads / params.kv_heads);
  let q_at = batch * params.q_strides.x + row * params.q_strides.y + head * params.q_strides.z;
  let k_start = batch * params.k_strides.x + kv_head * params.k_strides.z;
  let v_start = batch * params.v_strides.x + kv_head * params.v_strides.z;
  let mask_at = batch * params.mask_strides.x + head * params.mask_strides.y +
    row * params.mask_strides.z;
  let y_at = ((batch * params.q_length + row) * params.heads + head) * params.v_size;
  for (var c = 0u; c < params.v_size; c++) {
    y[y_at + c] = 0.0;
  }
  var largest = lowest;
  var sum = 0.0;
  let end = keys_of(row);
  for (var key = 0u; key < end; key += 4) {
    let keys = vec4<u32>(key) + vec4<u32>(0, 1, 2, 3);
    let seen = keys < vec4<u32>(end);
    let safe = min(keys, vec4<u32>(end - 1));
    let k_at = vec4<u32>(k_start) + safe * params.k_strides.y;
    var score = vec4<f32>();
    for (var i = 0u; i < params.head_size; i++) {
      score += q[q_at + i] * vec4<f32>(k[k_at.x + i], k[k_at.y + i], k[k_at.z + i], k[k_at.w + i]);
    }
    score *= params.scale;
    if (params.has_mask != 0) {
      let at = vec4<u32>(mask_at) + safe;
      score += vec4<f32>(mask[at.x], mask[at.y], mask[at.z], mask[at.w]);
    }
    score = select(vec4<f32>(lowest), score, seen);
    let now = max(largest, max(max(score.x, score.y), max(score.z, score.w)));
    let power = select(vec4<f32>(), exp(score - now), seen);
    let fade = exp(largest - now);
    largest = now;
    sum = sum * fade + power.x + power.y + power.z + power.w;
    let v_at = vec4<u32>(v_start) + safe * params.v_strides.y;
    for (var c = 0u; c < params.v_size; c++) {
      let values = vec4<f32>(v[v_at.x + c], v[v_at.y + c], v[v_at.z + c], v[v_at.w + c]);
      y[y_at + c] = y[y_at + c] * fade + dot(values, power);
    }
  }
  let scale = select(0.0, 1.0 / sum, sum > 0);
  for (var c = 0u; c < params.v_size; c++) {
    y[y_at + c] *= scale;
  }
}
