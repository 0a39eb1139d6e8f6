// SPDX-License-Identifier: Apache-2.0
// One invocation computes four columns of one row.
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
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> w: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> residual: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;

// Four columns of one row of a panel; a panel has k rows of 16 columns.
fn weight(at: u32) -> vec4<f32> {
  return vec4<f32>(unpack2x16float(w[at].x), unpack2x16float(w[at].y));
}

// Every activation but relu is made of one exp: the code of each is compiled, whichever is used.
fn activate(v: vec4<f32>) -> vec4<f32> {
  let code = params.activation;
  if (code == 1) {
    return max(v, vec4<f32>());
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
  let power = exp(-clamp(t, vec4<f32>(-80.0), vec4<f32>(80.0)));
  if (code == 2) {
    // erf by Abramowitz and Stegun 7.1.26, absolute error 1.5e-7.
    let u = 1.0 / (1.0 + 0.2316419 * abs(v));
    let p = ((((1.061405429 * u - 1.453152027) * u + 1.421413741) * u - 0.284496736) * u +
      0.254829592) * u;
    return max(v, vec4<f32>()) - 0.5 * abs(v) * p * power;
  }
  let share = 1.0 / (1.0 + power);
  if (code == 6) {
    return 2.0 * share - 1.0;
  }
  return select(v * share, share, code == 7);
}

fn finish(row: u32, column4: u32, sum: vec4<f32>) {
  let columns4 = params.n / 4;
  let block4 = params.block / 4;
  var value = sum;
  if (params.has_bias != 0) {
    value += bias[column4];
  }
  if (params.activation != 0) {
    value = activate(value);
  }
  if (params.has_residual != 0) {
    value += residual[row * columns4 + column4];
  }
  y[column4 / block4 * (params.block_stride / 4) + row * block4 + column4 % block4] = value;
}

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let columns4 = params.n / 4;
  let row = id.x / columns4;
  let column4 = id.x % columns4;
  if (row >= params.m) {
    return;
  }
  let depth4 = params.k / 4;
  var sum = vec4<f32>();
  var at = column4 / 4 * params.k * 4 + column4 % 4;
  for (var i = 0u; i < depth4; i++) {
    let weights = mat4x4<f32>(weight(at), weight(at + 4), weight(at + 8), weight(at + 12));
    sum += weights * x[row * depth4 + i];
    at += 16;
  }
  finish(row, column4, sum);
}
