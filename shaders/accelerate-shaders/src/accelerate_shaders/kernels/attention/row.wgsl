// SPDX-License-Identifier: Apache-2.0
// One invocation computes one query of one head, 16 keys at a time, in registers; sums are in y.
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

// Four keys from one on, those past the last as the last.
fn four(key: u32) -> vec4<u32> {
  return min(vec4<u32>(key) + vec4<u32>(0, 1, 2, 3), vec4<u32>(params.kv_length - 1));
}

fn masks(start: u32, key: u32) -> vec4<f32> {
  let at = start + four(key);
  return vec4<f32>(mask[at.x], mask[at.y], mask[at.z], mask[at.w]);
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
  let size4 = params.head_size / 4;
  let v_size4 = params.v_size / 4;
  let q_at = dot(vec3<u32>(batch, row, head), params.q_strides.xyz) / 4;
  let k_start = dot(vec2<u32>(batch, kv_head), params.k_strides.xz) / 4;
  let v_start = dot(vec2<u32>(batch, kv_head), params.v_strides.xz) / 4;
  let k_row = params.k_strides.y / 4;
  let v_row = params.v_strides.y / 4;
  let mask_at = dot(vec3<u32>(batch, head, row), params.mask_strides.xyz);
  let y_at = ((batch * params.q_length + row) * params.heads + head) * v_size4;
  for (var c = 0u; c < v_size4; c++) {
    y[y_at + c] = vec4<f32>();
  }
  var largest = lowest;
  var sum = 0.0;
  let end = keys_of(row);
  for (var key = 0u; key < end; key += 16) {
    let k0 = k_start + four(key) * k_row;
    let k1 = k_start + four(key + 4) * k_row;
    let k2 = k_start + four(key + 8) * k_row;
    let k3 = k_start + four(key + 12) * k_row;
    var s0 = vec4<f32>();
    var s1 = vec4<f32>();
    var s2 = vec4<f32>();
    var s3 = vec4<f32>();
    for (var i = 0u; i < size4; i++) {
      let value = q[q_at + i];
      s0 += value * mat4x4<f32>(k[k0.x + i], k[k0.y + i], k[k0.z + i], k[k0.w + i]);
      s1 += value * mat4x4<f32>(k[k1.x + i], k[k1.y + i], k[k1.z + i], k[k1.w + i]);
      s2 += value * mat4x4<f32>(k[k2.x + i], k[k2.y + i], k[k2.z + i], k[k2.w + i]);
      s3 += value * mat4x4<f32>(k[k3.x + i], k[k3.y + i], k[k3.z + i], k[k3.w + i]);
    }
    s0 *= params.scale;
    s1 *= params.scale;
    s2 *= params.scale;
    s3 *= params.scale;
    if (params.has_mask != 0) {
      s0 += masks(mask_at, key);
      s1 += masks(mask_at, key + 4);
      s2 += masks(mask_at, key + 8);
      s3 += masks(mask_at, key + 12);
    }
    let keys = vec4<u32>(key) + vec4<u32>(0, 1, 2, 3);
    let seen0 = keys < vec4<u32>(end);
    let seen1 = keys + 4 < vec4<u32>(end);
    let seen2 = keys + 8 < vec4<u32>(end);
    let seen3 = keys + 12 < vec4<u32>(end);
    let none = vec4<f32>(lowest);
    let most = max(
      max(select(none, s0, seen0), select(none, s1, seen1)),
      max(select(none, s2, seen2), select(none, s3, seen3)),
    );
    let now = max(largest, max(max(most.x, most.y), max(most.z, most.w)));
    let p0 = select(vec4<f32>(), exp(s0 - now), seen0);
    let p1 = select(vec4<f32>(), exp(s1 - now), seen1);
    let p2 = select(vec4<f32>(), exp(s2 - now), seen2);
    let p3 = select(vec4<f32>(), exp(s3 - now), seen3);
    let total = p0 + p1 + p2 + p3;
    let fade = exp(largest - now);
    largest = now;
    sum = sum * fade + total.x + total.y + total.z + total.w;
    let v0 = v_start + four(key) * v_row;
    let v1 = v_start + four(key + 4) * v_row;
    let v2 = v_start + four(key + 8) * v_row;
    let v3 = v_start + four(key + 12) * v_row;
    for (var c = 0u; c < v_size4; c++) {
      var part = y[y_at + c] * fade;
      part += mat4x4<f32>(v[v0.x + c], v[v0.y + c], v[v0.z + c], v[v0.w + c]) * p0;
      part += mat4x4<f32>(v[v1.x + c], v[v1.y + c], v[v1.z + c], v[v1.w + c]) * p1;
      part += mat4x4<f32>(v[v2.x + c], v[v2.y + c], v[v2.z + c], v[v2.w + c]) * p2;
      part += mat4x4<f32>(v[v3.x + c], v[v3.y + c], v[v3.z + c], v[v3.w + c]) * p3;
      y[y_at + c] = part;
    }
  }
  let scale = select(0.0, 1.0 / sum, sum > 0);
  for (var c = 0u; c < v_size4; c++) {
    y[y_at + c] *= scale;
  }
}
