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

// Four columns of one row of a panel; a panel has k rows of 16 columns.
fn weight(at: u32) -> vec4<f32> {
  return w[at];
}

// Every activation but relu is made of one exp: the code of each is compiled, whichever is used.
fn activate(v: f32) -> f32 {
  let code = params.activation;
  if (code == 1) {
    return max(v, 0.0);
  }
  var t = v;
  switch code {
    case 2: {
      t = 0.5 * v * v;
    }
    case 3: {
      t = 1.5957691216057308 * (v + 0.044715 * v * v * v);
    }
    case 5: {
      t = 1.702 * v;
    }
    case 6: {
      t = 2.0 * v;
    }
    default: {
    }
  }
  let power = exp(-clamp(t, -80.0, 80.0));
  if (code == 2) {
    // erf by Abramowitz and Stegun 7.1.26, absolute error 1.5e-7.
    let u = 1.0 / (1.0 + 0.2316419 * abs(v));
    let p = ((((1.061405429 * u - 1.453152027) * u + 1.421413741) * u - 0.284496736) * u +
      0.254829592) * u;
    return max(v, 0.0) - 0.5 * abs(v) * p * power;
  }
  let share = 1.0 / (1.0 + power);
  if (code == 6) {
    return 2.0 * share - 1.0;
  }
  return select(v * share, share, code == 7);
}

fn finish(row: u32, column: u32, sum: f32) {
  if (row >= params.m || column >= params.n) {
    return;
  }
  var value = sum;
  if (params.has_bias != 0) {
    value += bias[column];
  }
  if (params.activation != 0) {
    value = activate(value);
  }
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
    let weights = mat4x4<f32>(weight(at), weight(at + 1), weight(at + 2), weight(at + 3));
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
