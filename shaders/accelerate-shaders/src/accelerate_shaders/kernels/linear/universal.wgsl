// SPDX-License-Identifier: Apache-2.0
// One invocation computes 4 rows of one panel of 16 columns, whatever the sizes.
override workgroup: u32 = 8;

struct Params {
  m: u32,
  n: u32,
  k: u32,
  has_bias: u32,
  has_residual: u32,
  activation: u32,
  block: u32,
  block_stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> residual: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

// Abramowitz and Stegun 7.1.26, absolute error 1.5e-7.
fn erf(v: f32) -> f32 {
  let a = abs(v);
  let t = 1.0 / (1.0 + 0.3275911 * a);
  let p = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t +
    0.254829592) * t;
  return sign(v) * (1.0 - p * exp(-a * a));
}

// exp and tanh overflow on some devices: their arguments are kept where the result is exact.
fn sigmoid(v: f32) -> f32 {
  return 1.0 / (1.0 + exp(-max(v, f32(-80.0))));
}

fn tanh_safe(v: f32) -> f32 {
  return tanh(clamp(v, f32(-15.0), f32(15.0)));
}

fn activate(v: f32) -> f32 {
  switch params.activation {
    case 1: {
      return max(v, f32());
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

fn finish(row: u32, column: u32, sum: f32) {
  if (row >= params.m || column >= params.n) {
    return;
  }
  var value = sum;
  if (params.has_bias != 0) {
    value += bias[column];
  }
  value = activate(value);
  if (params.has_residual != 0) {
    value += residual[row * params.n + column];
  }
  let block = column / params.block;
  y[block * params.block_stride + row * params.block + column % params.block] = value;
}

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let panels = (params.n + 15) / 16;
  let panel = id.x % panels;
  let row = id.x / panels * 4;
  if (row >= params.m) {
    return;
  }
  // Rows past the last repeat it; finish() drops them.
  let last = params.m - 1;
  let at0 = row * params.k;
  let at1 = min(row + 1, last) * params.k;
  let at2 = min(row + 2, last) * params.k;
  let at3 = min(row + 3, last) * params.k;
  var sum0 = mat4x4<f32>();
  var sum1 = mat4x4<f32>();
  var sum2 = mat4x4<f32>();
  var sum3 = mat4x4<f32>();
  var at = panel * params.k * 4;
  for (var i = 0u; i < params.k; i++) {
    let weights = mat4x4<f32>(w[at], w[at + 1], w[at + 2], w[at + 3]);
    at += 4;
    sum0 += weights * x[at0 + i];
    sum1 += weights * x[at1 + i];
    sum2 += weights * x[at2 + i];
    sum3 += weights * x[at3 + i];
  }
  // A loop over all sums, so that an activation is compiled once.
  var sums = array<mat4x4<f32>, 4>(sum0, sum1, sum2, sum3);
  for (var i = 0u; i < 64; i++) {
    finish(row + i / 16, panel * 16 + i % 16, sums[i / 16][i / 4 % 4][i % 4]);
  }
}
