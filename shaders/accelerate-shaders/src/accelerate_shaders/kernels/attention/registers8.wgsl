// SPDX-License-Identifier: Apache-2.0
// One invocation computes 8 queries of one head, 16 keys at a time, with the softmax kept online
// (Milakov and Gimelshein 2018, arXiv:1805.02867). Only scores are in registers: sums are kept in
// y, so that any head size will do.
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
  let k_start = dot(vec2<u32>(batch, kv_head), params.k_strides.xz) / 4;
  let v_start = dot(vec2<u32>(batch, kv_head), params.v_strides.xz) / 4;
  let k_row = params.k_strides.y / 4;
  let v_row = params.v_strides.y / 4;
  let mask_start = dot(vec3<u32>(batch, head, row), params.mask_strides.xyz);
  let y_row = params.heads * v_size4;
  let y_at = (batch * params.q_length + row) * y_row + head * v_size4;
  // Rows past the last repeat it, and are never stored.
  let q_row = params.q_strides.y / 4;
  let q_at0 = dot(vec3<u32>(batch, row, head), params.q_strides.xyz) / 4;
  let q_at1 = q_at0 + min(1, rows - 1) * q_row;
  let q_at2 = q_at0 + min(2, rows - 1) * q_row;
  let q_at3 = q_at0 + min(3, rows - 1) * q_row;
  let q_at4 = q_at0 + min(4, rows - 1) * q_row;
  let q_at5 = q_at0 + min(5, rows - 1) * q_row;
  let q_at6 = q_at0 + min(6, rows - 1) * q_row;
  let q_at7 = q_at0 + min(7, rows - 1) * q_row;
  for (var r = 0u; r < rows; r++) {
    for (var c = 0u; c < v_size4; c++) {
      y[y_at + r * y_row + c] = vec4<f32>();
    }
  }
  // Of each row the largest score, the sum of powers, and what the last block faded them by.
  var state0 = vec3<f32>(lowest, 0.0, 0.0);
  var state1 = vec3<f32>(lowest, 0.0, 0.0);
  var state2 = vec3<f32>(lowest, 0.0, 0.0);
  var state3 = vec3<f32>(lowest, 0.0, 0.0);
  var state4 = vec3<f32>(lowest, 0.0, 0.0);
  var state5 = vec3<f32>(lowest, 0.0, 0.0);
  var state6 = vec3<f32>(lowest, 0.0, 0.0);
  var state7 = vec3<f32>(lowest, 0.0, 0.0);
  let end = keys_of(row + rows - 1);
  for (var key = 0u; key < end; key += 16) {
    let k_at0 = k_start + four(key) * k_row;
    let k_at1 = k_start + four(key + 4) * k_row;
    let k_at2 = k_start + four(key + 8) * k_row;
    let k_at3 = k_start + four(key + 12) * k_row;
    var s0 = mat4x4<f32>();
    var s1 = mat4x4<f32>();
    var s2 = mat4x4<f32>();
    var s3 = mat4x4<f32>();
    var s4 = mat4x4<f32>();
    var s5 = mat4x4<f32>();
    var s6 = mat4x4<f32>();
    var s7 = mat4x4<f32>();
    for (var i = 0u; i < size4; i++) {
      let k0 = mat4x4<f32>(k[k_at0.x + i], k[k_at0.y + i], k[k_at0.z + i], k[k_at0.w + i]);
      let k1 = mat4x4<f32>(k[k_at1.x + i], k[k_at1.y + i], k[k_at1.z + i], k[k_at1.w + i]);
      let k2 = mat4x4<f32>(k[k_at2.x + i], k[k_at2.y + i], k[k_at2.z + i], k[k_at2.w + i]);
      let k3 = mat4x4<f32>(k[k_at3.x + i], k[k_at3.y + i], k[k_at3.z + i], k[k_at3.w + i]);
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
    // The first row's scores are turned to powers, and all rows pass on by one: eight times. An
    // indexed array of rows would take longer, and three times as long to compile.
    let keys = vec4<u32>(key) + vec4<u32>(0, 1, 2, 3);
    let none = vec4<f32>(lowest);
    for (var r = 0u; r < 8; r++) {
      let visible = vec4<u32>(keys_of(row + r));
      var scores = s0 * params.scale;
      if (params.has_mask != 0) {
        let at = mask_start + min(r, rows - 1) * params.mask_strides.z;
        scores += mat4x4<f32>(
          masks(at, key),
          masks(at, key + 4),
          masks(at, key + 8),
          masks(at, key + 12),
        );
      }
      let seen0 = keys < visible;
      let seen1 = keys + 4 < visible;
      let seen2 = keys + 8 < visible;
      let seen3 = keys + 12 < visible;
      let most = max(
        max(select(none, scores[0], seen0), select(none, scores[1], seen1)),
        max(select(none, scores[2], seen2), select(none, scores[3], seen3)),
      );
      let now = max(state0.x, max(max(most.x, most.y), max(most.z, most.w)));
      let zero = vec4<f32>();
      let p0 = select(zero, exp(scores[0] - now), seen0);
      let p1 = select(zero, exp(scores[1] - now), seen1);
      let p2 = select(zero, exp(scores[2] - now), seen2);
      let p3 = select(zero, exp(scores[3] - now), seen3);
      let total = p0 + p1 + p2 + p3;
      let fade = exp(state0.x - now);
      let state = vec3<f32>(now, state0.y * fade + total.x + total.y + total.z + total.w, fade);
      s0 = s1;
      state0 = state1;
      s1 = s2;
      state1 = state2;
      s2 = s3;
      state2 = state3;
      s3 = s4;
      state3 = state4;
      s4 = s5;
      state4 = state5;
      s5 = s6;
      state5 = state6;
      s6 = s7;
      state6 = state7;
      s7 = mat4x4<f32>(p0, p1, p2, p3);
      state7 = state;
    }
    let v_at0 = v_start + four(key) * v_row;
    let v_at1 = v_start + four(key + 4) * v_row;
    let v_at2 = v_start + four(key + 8) * v_row;
    let v_at3 = v_start + four(key + 12) * v_row;
    for (var c = 0u; c < v_size4; c++) {
      let v0 = mat4x4<f32>(v[v_at0.x + c], v[v_at0.y + c], v[v_at0.z + c], v[v_at0.w + c]);
      let v1 = mat4x4<f32>(v[v_at1.x + c], v[v_at1.y + c], v[v_at1.z + c], v[v_at1.w + c]);
      let v2 = mat4x4<f32>(v[v_at2.x + c], v[v_at2.y + c], v[v_at2.z + c], v[v_at2.w + c]);
      let v3 = mat4x4<f32>(v[v_at3.x + c], v[v_at3.y + c], v[v_at3.z + c], v[v_at3.w + c]);
      var at = y_at + c;
      y[at] = y[at] * state0.z + v0 * s0[0] + v1 * s0[1] + v2 * s0[2] + v3 * s0[3];
      if (rows > 1) {
        at += y_row;
        y[at] = y[at] * state1.z + v0 * s1[0] + v1 * s1[1] + v2 * s1[2] + v3 * s1[3];
      }
      if (rows > 2) {
        at += y_row;
        y[at] = y[at] * state2.z + v0 * s2[0] + v1 * s2[1] + v2 * s2[2] + v3 * s2[3];
      }
      if (rows > 3) {
        at += y_row;
        y[at] = y[at] * state3.z + v0 * s3[0] + v1 * s3[1] + v2 * s3[2] + v3 * s3[3];
      }
      if (rows > 4) {
        at += y_row;
        y[at] = y[at] * state4.z + v0 * s4[0] + v1 * s4[1] + v2 * s4[2] + v3 * s4[3];
      }
      if (rows > 5) {
        at += y_row;
        y[at] = y[at] * state5.z + v0 * s5[0] + v1 * s5[1] + v2 * s5[2] + v3 * s5[3];
      }
      if (rows > 6) {
        at += y_row;
        y[at] = y[at] * state6.z + v0 * s6[0] + v1 * s6[1] + v2 * s6[2] + v3 * s6[3];
      }
      if (rows > 7) {
        at += y_row;
        y[at] = y[at] * state7.z + v0 * s7[0] + v1 * s7[1] + v2 * s7[2] + v3 * s7[3];
      }
    }
  }
  var sums = array<f32, 8>(
    state0.y,
    state1.y,
    state2.y,
    state3.y,
    state4.y,
    state5.y,
    state6.y,
    state7.y,
  );
  for (var r = 0u; r < rows; r++) {
    let scale = select(0.0, 1.0 / sums[r], sums[r] > 0);
    for (var c = 0u; c < v_size4; c++) {
      y[y_at + r * y_row + c] *= scale;
    }
  }
}
