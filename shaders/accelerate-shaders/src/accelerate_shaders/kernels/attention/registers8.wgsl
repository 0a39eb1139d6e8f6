// SPDX-License-Identifier: Apache-2.0
// One invocation computes 8 queries of one head, 16 keys at a time, with the softmax kept online
// (Milakov and Gimelshein 2018, arXiv:1805.02867). Only scores are in registers: sums are kept in y,
// so that any head size will do.
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

// What the mask adds to four keys; those past the last repeat it.
fn masks(start: u32, key: u32) -> vec4<f32> {
  let at = start + min(vec4<u32>(key) + vec4<u32>(0, 1, 2, 3), vec4<u32>(params.kv_length - 1));
  return vec4<f32>(mask[at.x], mask[at.y], mask[at.z], mask[at.w]);
}

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let tiles = (params.q_length + 7) / 8;
  let row = id.x % tiles * 8;
  let head = id.x / tiles % params.heads;
  let batch = id.x / tiles / params.heads;
  if (batch >= params.batch) {
    return;
  }
  let kv_head = head / (params.heads / params.kv_heads);
  let size4 = params.head_size / 4;
  let v_size4 = params.v_size / 4;
  let rows = min(params.q_length - row, 8);
  // Rows past the last repeat it, and are never stored.
  let q_row = params.q_strides.y / 4;
  let q_at0 = (batch * params.q_strides.x + head * params.q_strides.z) / 4 + row * q_row;
  let q_at1 = q_at0 + min(1, rows - 1) * q_row;
  let q_at2 = q_at0 + min(2, rows - 1) * q_row;
  let q_at3 = q_at0 + min(3, rows - 1) * q_row;
  let q_at4 = q_at0 + min(4, rows - 1) * q_row;
  let q_at5 = q_at0 + min(5, rows - 1) * q_row;
  let q_at6 = q_at0 + min(6, rows - 1) * q_row;
  let q_at7 = q_at0 + min(7, rows - 1) * q_row;
  let k_row = params.k_strides.y / 4;
  let v_row = params.v_strides.y / 4;
  let k_start = (batch * params.k_strides.x + kv_head * params.k_strides.z) / 4;
  let v_start = (batch * params.v_strides.x + kv_head * params.v_strides.z) / 4;
  let mask_start = batch * params.mask_strides.x + head * params.mask_strides.y +
    row * params.mask_strides.z;
  let y_row = params.heads * v_size4;
  let y_at = (batch * params.q_length + row) * y_row + head * v_size4;
  for (var r = 0u; r < rows; r++) {
    for (var c = 0u; c < v_size4; c++) {
      y[y_at + r * y_row + c] = vec4<f32>();
    }
  }
  var largest0 = lowest;
  var sum0 = 0.0;
  var largest1 = lowest;
  var sum1 = 0.0;
  var largest2 = lowest;
  var sum2 = 0.0;
  var largest3 = lowest;
  var sum3 = 0.0;
  var largest4 = lowest;
  var sum4 = 0.0;
  var largest5 = lowest;
  var sum5 = 0.0;
  var largest6 = lowest;
  var sum6 = 0.0;
  var largest7 = lowest;
  var sum7 = 0.0;
  let end = keys_of(row + rows - 1);
  let last = params.kv_length - 1;
  for (var key = 0u; key < end; key += 16) {
    var s0 = mat4x4<f32>();
    var s1 = mat4x4<f32>();
    var s2 = mat4x4<f32>();
    var s3 = mat4x4<f32>();
    var s4 = mat4x4<f32>();
    var s5 = mat4x4<f32>();
    var s6 = mat4x4<f32>();
    var s7 = mat4x4<f32>();
    let keys = vec4<u32>(key) + vec4<u32>(0, 1, 2, 3);
    let k_at0 = k_start + key * k_row;
    let k_at1 = k_start + min(key + 1, last) * k_row;
    let k_at2 = k_start + min(key + 2, last) * k_row;
    let k_at3 = k_start + min(key + 3, last) * k_row;
    let k_at4 = k_start + min(key + 4, last) * k_row;
    let k_at5 = k_start + min(key + 5, last) * k_row;
    let k_at6 = k_start + min(key + 6, last) * k_row;
    let k_at7 = k_start + min(key + 7, last) * k_row;
    let k_at8 = k_start + min(key + 8, last) * k_row;
    let k_at9 = k_start + min(key + 9, last) * k_row;
    let k_at10 = k_start + min(key + 10, last) * k_row;
    let k_at11 = k_start + min(key + 11, last) * k_row;
    let k_at12 = k_start + min(key + 12, last) * k_row;
    let k_at13 = k_start + min(key + 13, last) * k_row;
    let k_at14 = k_start + min(key + 14, last) * k_row;
    let k_at15 = k_start + min(key + 15, last) * k_row;
    for (var i = 0u; i < size4; i++) {
      let k0 = mat4x4<f32>(k[k_at0 + i], k[k_at1 + i], k[k_at2 + i], k[k_at3 + i]);
      let k1 = mat4x4<f32>(k[k_at4 + i], k[k_at5 + i], k[k_at6 + i], k[k_at7 + i]);
      let k2 = mat4x4<f32>(k[k_at8 + i], k[k_at9 + i], k[k_at10 + i], k[k_at11 + i]);
      let k3 = mat4x4<f32>(k[k_at12 + i], k[k_at13 + i], k[k_at14 + i], k[k_at15 + i]);
      let q0 = q[q_at0 + i];
      s0 += mat4x4<f32>(q0 * k0, q0 * k1, q0 * k2, q0 * k3);
      let q1 = q[q_at1 + i];
      s1 += mat4x4<f32>(q1 * k0, q1 * k1, q1 * k2, q1 * k3);
      let q2 = q[q_at2 + i];
      s2 += mat4x4<f32>(q2 * k0, q2 * k1, q2 * k2, q2 * k3);
      let q3 = q[q_at3 + i];
      s3 += mat4x4<f32>(q3 * k0, q3 * k1, q3 * k2, q3 * k3);
      let q4 = q[q_at4 + i];
      s4 += mat4x4<f32>(q4 * k0, q4 * k1, q4 * k2, q4 * k3);
      let q5 = q[q_at5 + i];
      s5 += mat4x4<f32>(q5 * k0, q5 * k1, q5 * k2, q5 * k3);
      let q6 = q[q_at6 + i];
      s6 += mat4x4<f32>(q6 * k0, q6 * k1, q6 * k2, q6 * k3);
      let q7 = q[q_at7 + i];
      s7 += mat4x4<f32>(q7 * k0, q7 * k1, q7 * k2, q7 * k3);
    }
    // One row at a time is turned to powers, and the rows are passed on: an indexed array would cost
    // more than these copies.
    var fade0 = 0.0;
    var fade1 = 0.0;
    var fade2 = 0.0;
    var fade3 = 0.0;
    var fade4 = 0.0;
    var fade5 = 0.0;
    var fade6 = 0.0;
    var fade7 = 0.0;
    for (var r = 0u; r < 8; r++) {
      let visible = keys_of(row + r);
      var now = largest0;
      var most = vec4<f32>(largest0);
      let mask_at = mask_start + min(r, rows - 1) * params.mask_strides.z;
      var t0 = s0[0] * params.scale;
      var t1 = s0[1] * params.scale;
      var t2 = s0[2] * params.scale;
      var t3 = s0[3] * params.scale;
      if (params.has_mask != 0) {
        t0 += masks(mask_at, key + 0);
        t1 += masks(mask_at, key + 4);
        t2 += masks(mask_at, key + 8);
        t3 += masks(mask_at, key + 12);
      }
      let seen0 = keys + 0 < vec4<u32>(visible);
      let seen1 = keys + 4 < vec4<u32>(visible);
      let seen2 = keys + 8 < vec4<u32>(visible);
      let seen3 = keys + 12 < vec4<u32>(visible);
      most = max(most, select(vec4<f32>(lowest), t0, seen0));
      most = max(most, select(vec4<f32>(lowest), t1, seen1));
      most = max(most, select(vec4<f32>(lowest), t2, seen2));
      most = max(most, select(vec4<f32>(lowest), t3, seen3));
      now = max(max(most.x, most.y), max(most.z, most.w));
      t0 = select(vec4<f32>(), exp(t0 - now), seen0);
      t1 = select(vec4<f32>(), exp(t1 - now), seen1);
      t2 = select(vec4<f32>(), exp(t2 - now), seen2);
      t3 = select(vec4<f32>(), exp(t3 - now), seen3);
      let total = t0 + t1 + t2 + t3;
      let fade = exp(largest0 - now);
      let next = sum0 * fade + total.x + total.y + total.z + total.w;
      s0 = s1;
      largest0 = largest1;
      sum0 = sum1;
      fade0 = fade1;
      s1 = s2;
      largest1 = largest2;
      sum1 = sum2;
      fade1 = fade2;
      s2 = s3;
      largest2 = largest3;
      sum2 = sum3;
      fade2 = fade3;
      s3 = s4;
      largest3 = largest4;
      sum3 = sum4;
      fade3 = fade4;
      s4 = s5;
      largest4 = largest5;
      sum4 = sum5;
      fade4 = fade5;
      s5 = s6;
      largest5 = largest6;
      sum5 = sum6;
      fade5 = fade6;
      s6 = s7;
      largest6 = largest7;
      sum6 = sum7;
      fade6 = fade7;
      s7 = mat4x4<f32>(t0, t1, t2, t3);
      largest7 = now;
      sum7 = next;
      fade7 = fade;
    }
    let v_at0 = v_start + key * v_row;
    let v_at1 = v_start + min(key + 1, last) * v_row;
    let v_at2 = v_start + min(key + 2, last) * v_row;
    let v_at3 = v_start + min(key + 3, last) * v_row;
    let v_at4 = v_start + min(key + 4, last) * v_row;
    let v_at5 = v_start + min(key + 5, last) * v_row;
    let v_at6 = v_start + min(key + 6, last) * v_row;
    let v_at7 = v_start + min(key + 7, last) * v_row;
    let v_at8 = v_start + min(key + 8, last) * v_row;
    let v_at9 = v_start + min(key + 9, last) * v_row;
    let v_at10 = v_start + min(key + 10, last) * v_row;
    let v_at11 = v_start + min(key + 11, last) * v_row;
    let v_at12 = v_start + min(key + 12, last) * v_row;
    let v_at13 = v_start + min(key + 13, last) * v_row;
    let v_at14 = v_start + min(key + 14, last) * v_row;
    let v_at15 = v_start + min(key + 15, last) * v_row;
    for (var c = 0u; c < v_size4; c++) {
      let v0 = mat4x4<f32>(v[v_at0 + c], v[v_at1 + c], v[v_at2 + c], v[v_at3 + c]);
      let v1 = mat4x4<f32>(v[v_at4 + c], v[v_at5 + c], v[v_at6 + c], v[v_at7 + c]);
      let v2 = mat4x4<f32>(v[v_at8 + c], v[v_at9 + c], v[v_at10 + c], v[v_at11 + c]);
      let v3 = mat4x4<f32>(v[v_at12 + c], v[v_at13 + c], v[v_at14 + c], v[v_at15 + c]);
      y[y_at + c] = y[y_at + c] * fade0 + v0 * s0[0] + v1 * s0[1] + v2 * s0[2] + v3 * s0[3];
      if (rows > 1) {
        y[y_at + y_row + c] = y[y_at + y_row + c] * fade1 + v0 * s1[0] + v1 * s1[1] + v2 * s1[2] + v3 * s1[3];
      }
      if (rows > 2) {
        y[y_at + 2 * y_row + c] = y[y_at + 2 * y_row + c] * fade2 + v0 * s2[0] + v1 * s2[1] + v2 * s2[2] + v3 * s2[3];
      }
      if (rows > 3) {
        y[y_at + 3 * y_row + c] = y[y_at + 3 * y_row + c] * fade3 + v0 * s3[0] + v1 * s3[1] + v2 * s3[2] + v3 * s3[3];
      }
      if (rows > 4) {
        y[y_at + 4 * y_row + c] = y[y_at + 4 * y_row + c] * fade4 + v0 * s4[0] + v1 * s4[1] + v2 * s4[2] + v3 * s4[3];
      }
      if (rows > 5) {
        y[y_at + 5 * y_row + c] = y[y_at + 5 * y_row + c] * fade5 + v0 * s5[0] + v1 * s5[1] + v2 * s5[2] + v3 * s5[3];
      }
      if (rows > 6) {
        y[y_at + 6 * y_row + c] = y[y_at + 6 * y_row + c] * fade6 + v0 * s6[0] + v1 * s6[1] + v2 * s6[2] + v3 * s6[3];
      }
      if (rows > 7) {
        y[y_at + 7 * y_row + c] = y[y_at + 7 * y_row + c] * fade7 + v0 * s7[0] + v1 * s7[1] + v2 * s7[2] + v3 * s7[3];
      }
    }
  }
  var sums = array<f32, 8>(sum0, sum1, sum2, sum3, sum4, sum5, sum6, sum7);
  for (var r = 0u; r < rows; r++) {
    let scale = select(0.0, 1.0 / sums[r], sums[r] > 0);
    for (var c = 0u; c < v_size4; c++) {
      y[y_at + r * y_row + c] *= scale;
    }
  }
}
