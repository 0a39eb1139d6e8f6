// SPDX-License-Identifier: Apache-2.0
// For GPUs: one workgroup computes one query of one head; its invocations share the keys, a block
// of `lanes` at a time, then columns of v and slices of the block.
override lanes: u32 = 128;

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

var<workgroup> shares: array<f32, lanes>;
var<workgroup> parts: array<vec4<f32>, lanes>;
var<workgroup> scratch: array<f32, lanes>;

// The largest, or the sum, of what all invocations bring.
fn combine(local: u32, value: f32, is_sum: bool) -> f32 {
  scratch[local] = value;
  workgroupBarrier();
  for (var half = lanes / 2; half > 0; half /= 2) {
    if (local < half) {
      let left = scratch[local];
      let right = scratch[local + half];
      scratch[local] = select(max(left, right), left + right, is_sum);
    }
    workgroupBarrier();
  }
  let result = scratch[0];
  workgroupBarrier();
  return result;
}

@compute @workgroup_size(lanes)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let row = group.x;
  let head = group.y;
  let batch = group.z;
  let kv_head = head / (params.heads / params.kv_heads);
  let size4 = params.head_size / 4;
  let v_size4 = params.v_size / 4;
  let q_at = dot(vec3<u32>(batch, row, head), params.q_strides.xyz) / 4;
  let k_start = dot(vec2<u32>(batch, kv_head), params.k_strides.xz) / 4;
  let v_start = dot(vec2<u32>(batch, kv_head), params.v_strides.xz) / 4;
  let mask_at = dot(vec3<u32>(batch, head, row), params.mask_strides.xyz);
  let column = local % v_size4;
  let slice = local / v_size4;
  // Invocations past the last whole slice have none.
  let slices = lanes / v_size4;
  let end = keys_of(row);
  var largest = lowest;
  var sum = 0.0;
  var part = vec4<f32>();
  for (var start = 0u; start < end; start += lanes) {
    let key = start + local;
    var score = lowest;
    if (key < end) {
      let k_at = k_start + key * (params.k_strides.y / 4);
      var products = vec4<f32>();
      for (var i = 0u; i < size4; i++) {
        products += q[q_at + i] * k[k_at + i];
      }
      score = dot(products, vec4<f32>(1.0)) * params.scale;
      if (params.has_mask != 0) {
        score += mask[mask_at + key];
      }
    }
    let now = max(largest, combine(local, score, false));
    let power = select(0.0, exp(score - now), key < end);
    let fade = exp(largest - now);
    largest = now;
    shares[local] = power;
    sum = sum * fade + combine(local, power, true);
    part *= fade;
    if (slice < slices) {
      for (var i = slice; i < min(lanes, end - start); i += slices) {
        part += shares[i] * v[v_start + (start + i) * (params.v_strides.y / 4) + column];
      }
    }
    workgroupBarrier();
  }
  parts[local] = part;
  workgroupBarrier();
  if (local < v_size4) {
    var total = parts[local];
    for (var i = 1u; i < slices; i++) {
      total += parts[local + i * v_size4];
    }
    let y_at = ((batch * params.q_length + row) * params.heads + head) * v_size4;
    y[y_at + local] = total * select(0.0, 1.0 / sum, sum > 0);
  }
}
