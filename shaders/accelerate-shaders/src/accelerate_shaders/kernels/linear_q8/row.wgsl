// SPDX-License-Identifier: Apache-2.0
// One invocation computes four columns of one row.
override workgroup: u32 = 8;

struct Params {
  m: u32,
  n: u32,
  k: u32,
  group: u32,
  has_bias: u32,
  has_residual: u32,
  activation: u32,
  block: u32,
  block_stride: u32,
  gain: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> w: array<u32>;
@group(0) @binding(3) var<storage, read> scales: array<vec2<u32>>;
@group(0) @binding(4) var<storage, read> zeros: array<vec2<u32>>;
@group(0) @binding(5) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> residual: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> y: array<vec4<f32>>;

// How codes are read: all that differs between linear_q8, _q4, _q3 and _q2.
struct Codes {
  k0: u32,
  k1: u32,
  k2: u32,
  k3: u32,
}

// Four rows of four columns, a byte each.
fn codes(columns: u32, quad: u32) -> Codes {
  let panel = columns / 4;
  let lane = columns % 4;
  let i = panel * params.k + quad * 4;
  return Codes(w[i * 4 + lane], w[(i + 1) * 4 + lane], w[(i + 2) * 4 + lane], w[(i + 3) * 4 + lane]);
}

// From here on all four are the same.

fn halves(pairs: vec2<u32>) -> vec4<f32> {
  return vec4(unpack2x16float(pairs.x), unpack2x16float(pairs.y));
}

// Abramowitz and Stegun 7.1.26, absolute error 1.5e-7.
fn erf(v: vec4<f32>) -> vec4<f32> {
  let a = abs(v);
  let t = 1.0 / (1.0 + 0.3275911 * a);
  let p = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t +
    0.254829592) * t;
  return sign(v) * (1.0 - p * exp(-a * a));
}

// exp and tanh overflow on some devices: their arguments are kept where the result is exact.
fn sigmoid(v: vec4<f32>) -> vec4<f32> {
  return 1.0 / (1.0 + exp(-max(v, vec4<f32>(-80.0))));
}

fn tanh_safe(v: vec4<f32>) -> vec4<f32> {
  return tanh(clamp(v, vec4<f32>(-15.0), vec4<f32>(15.0)));
}

fn activate(v: vec4<f32>) -> vec4<f32> {
  switch params.activation {
    case 1: {
      return max(v, vec4<f32>());
    }
    case 2: {
      return 0.5 * v * (1.0 + erf(v * 0.7071067811865476));
    }
    case 3: {
      return 0.5 * v * (1.0 + tanh_safe(0.7978845608028654 * (v + 0.044715 * v * v * v)));
    }
    case 4: {
      return v * sigmoid(v);
    }
    case 5: {
      return v * sigmoid(1.702 * v);
    }
    case 6: {
      return tanh_safe(v);
    }
    case 7: {
      return sigmoid(v);
    }
    default: {
      return v;
    }
  }
}

// Where four columns of a row lie in y, in vec4s.
fn place(row: u32, column: u32) -> u32 {
  let block = column / params.block;
  return (block * params.block_stride + row * params.block + column - block * params.block) / 4;
}

fn finish(row: u32, column: u32, sum: vec4<f32>) {
  let i = place(row, column);
  var value = params.gain * sum;
  if (params.has_bias != 0) {
    value += bias[column / 4];
  }
  value = activate(value);
  if (params.has_residual != 0) {
    value += residual[(row * params.n + column) / 4];
  }
  y[i] = value;
}

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let column = id.x * 4;
  if (column >= params.n) {
    return;
  }
  let row = id.y;
  let start = row * params.k / 4;
  let groups = (params.k + params.group - 1) / params.group;
  var sum = vec4(0.0);
  for (var g = 0u; g < groups; g++) {
    let end = min((g + 1) * params.group, params.k) / 4;
    var part = vec4(0.0);
    var total = vec4(0.0);
    for (var q = g * params.group / 4; q < end; q++) {
      let code = codes(id.x, q);
      let a = x[start + q];
      part += mat4x4(
        unpack4x8unorm(code.k0),
        unpack4x8unorm(code.k1),
        unpack4x8unorm(code.k2),
        unpack4x8unorm(code.k3),
      ) * a;
      total += a;
    }
    let i = (id.x / 4 * groups + g) * 4 + id.x % 4;
    sum += halves(scales[i]) * (part * 255.0 - halves(zeros[i]) * dot(total, vec4(1.0)));
  }
  finish(row, column, sum);
}
