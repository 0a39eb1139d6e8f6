// SPDX-License-Identifier: Apache-2.0
// One invocation computes one element: for sizes that no other variant takes.
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
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read> w: array<u32>;
@group(0) @binding(3) var<storage, read> scales: array<u32>;
@group(0) @binding(4) var<storage, read> zeros: array<u32>;
@group(0) @binding(5) var<storage, read> bias: array<f32>;
@group(0) @binding(6) var<storage, read_write> residual: array<f32>;
@group(0) @binding(7) var<storage, read_write> y: array<f32>;

// How codes are read: all that differs between linear_q8, _q4, _q3 and _q2.
// The byte of a column in a step of a panel.
fn byte(step: u32, lane: u32) -> u32 {
  return w[step * 4 + lane / 4] >> (lane % 4 * 8);
}

fn code(k: u32, panel: u32, lane: u32) -> u32 {
  let steps = (params.k + 3) / 4;
  let low = byte(panel * steps + k / 4, lane) >> (k % 4 * 2);
  // The third bits follow those of all panels, eight rows to a step.
  let highs = (params.n + 15) / 16 * steps;
  let high = byte(highs + panel * ((params.k + 7) / 8) + k / 8, lane) >> (k % 8);
  return (low & 3) | ((high & 1) << 2);
}

// From here on all four are the same.

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
  return 1.0 / (1.0 + exp(-max(v, -80.0)));
}

fn tanh_safe(v: f32) -> f32 {
  return tanh(clamp(v, -15.0, 15.0));
}

fn activate(v: f32) -> f32 {
  switch params.activation {
    case 1: {
      return max(v, 0.0);
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

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let column = id.x;
  if (column >= params.n) {
    return;
  }
  let row = id.y;
  let panel = column / 16;
  let lane = column % 16;
  let groups = (params.k + params.group - 1) / params.group;
  var sum = 0.0;
  for (var g = 0u; g < groups; g++) {
    let i = (panel * groups + g) * 16 + lane;
    let scale = unpack2x16float(scales[i / 2])[i % 2];
    let zero = unpack2x16float(zeros[i / 2])[i % 2];
    let end = min((g + 1) * params.group, params.k);
    for (var k = g * params.group; k < end; k++) {
      sum += x[row * params.k + k] * scale * (f32(code(k, panel, lane)) - zero);
    }
  }
  var value = params.gain * sum;
  if (params.has_bias != 0) {
    value += bias[column];
  }
  value = activate(value);
  if (params.has_residual != 0) {
    value += residual[row * params.n + column];
  }
  let block = column / params.block;
  y[block * params.block_stride + row * params.block + column - block * params.block] = value;
}
