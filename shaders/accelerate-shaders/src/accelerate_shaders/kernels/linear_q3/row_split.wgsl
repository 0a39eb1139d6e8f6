// SPDX-License-Identifier: Apache-2.0
// A workgroup computes a panel of 16 columns of one row; its invocations share the rows of weights.
override lanes: u32 = 64;

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
@group(0) @binding(2) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> scales: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> zeros: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> residual: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> y: array<vec4<f32>>;

var<workgroup> sums: array<mat4x4<f32>, lanes>;

// How codes are read: all that differs between linear_q8, _q4, _q3 and _q2.
struct Codes {
  k0: vec4<u32>,
  k1: vec4<u32>,
  k2: vec4<u32>,
  k3: vec4<u32>,
}

// Four rows of a panel: a component holds four columns, a byte each.
fn codes(panel: u32, quad: u32) -> Codes {
  let mask = vec4<u32>(0x03030303);
  let top = vec4<u32>(0x04040404);
  let steps = (params.k + 3) / 4;
  let a = w[panel * steps + quad];
  // The third bits follow those of all panels, eight rows to a step.
  let highs = (params.n + 15) / 16 * steps;
  let h = w[highs + panel * ((params.k + 7) / 8) + quad / 2] >> vec4<u32>((quad & 1) * 4);
  return Codes(
    (a & mask) | ((h << vec4<u32>(2)) & top),
    ((a >> vec4<u32>(2)) & mask) | ((h << vec4<u32>(1)) & top),
    ((a >> vec4<u32>(4)) & mask) | (h & top),
    ((a >> vec4<u32>(6)) & mask) | ((h >> vec4<u32>(1)) & top),
  );
}

// From here on all four are the same.

struct Steps {
  scale: mat4x4<f32>,
  offset: mat4x4<f32>,
}

// Scale and offset of the sixteen columns of a panel: weight = byte / 255 * scale + offset.
fn steps(panel: u32, group: u32, groups: u32) -> Steps {
  let i = (panel * groups + group) * 2;
  let s = halves(scales[i], scales[i + 1]);
  let z = halves(zeros[i], zeros[i + 1]);
  return Steps(s * 255.0, mat4x4(-s[0] * z[0], -s[1] * z[1], -s[2] * z[2], -s[3] * z[3]));
}

fn halves(a: vec4<u32>, b: vec4<u32>) -> mat4x4<f32> {
  return mat4x4(
    vec4(unpack2x16float(a.x), unpack2x16float(a.y)),
    vec4(unpack2x16float(a.z), unpack2x16float(a.w)),
    vec4(unpack2x16float(b.x), unpack2x16float(b.y)),
    vec4(unpack2x16float(b.z), unpack2x16float(b.w)),
  );
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

@compute @workgroup_size(lanes)
fn main(
  @builtin(workgroup_id) tile: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let panel = tile.x;
  let row = tile.y;
  let quads = params.k / 4;
  let groups = (params.k + params.group - 1) / params.group;
  var sum = mat4x4<f32>();
  for (var q = lane; q < quads; q += lanes) {
    let code = codes(panel, q);
    let step = steps(panel, q * 4 / params.group, groups);
    let a = x[row * quads + q];
    let total = a.x + a.y + a.z + a.w;
    sum[0] += step.offset[0] * total + step.scale[0] * (mat4x4(
      unpack4x8unorm(code.k0.x), unpack4x8unorm(code.k1.x),
      unpack4x8unorm(code.k2.x), unpack4x8unorm(code.k3.x),
    ) * a);
    sum[1] += step.offset[1] * total + step.scale[1] * (mat4x4(
      unpack4x8unorm(code.k0.y), unpack4x8unorm(code.k1.y),
      unpack4x8unorm(code.k2.y), unpack4x8unorm(code.k3.y),
    ) * a);
    sum[2] += step.offset[2] * total + step.scale[2] * (mat4x4(
      unpack4x8unorm(code.k0.z), unpack4x8unorm(code.k1.z),
      unpack4x8unorm(code.k2.z), unpack4x8unorm(code.k3.z),
    ) * a);
    sum[3] += step.offset[3] * total + step.scale[3] * (mat4x4(
      unpack4x8unorm(code.k0.w), unpack4x8unorm(code.k1.w),
      unpack4x8unorm(code.k2.w), unpack4x8unorm(code.k3.w),
    ) * a);
  }
  sums[lane] = sum;
  workgroupBarrier();
  for (var half = lanes / 2; half > 0; half /= 2) {
    if (lane < half) {
      sums[lane] += sums[lane + half];
    }
    workgroupBarrier();
  }
  let column = panel * 16 + lane * 4;
  if (lane < 4 && column < params.n) {
    finish(row, column, sums[0][lane]);
  }
}
