// SPDX-License-Identifier: Apache-2.0
// One invocation computes 16 rows of a panel of 16 columns in registers. Weights are unpacked once for
// all rows. Named variables, not arrays: an indexed local array costs four times as much.
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
@group(0) @binding(2) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> scales: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> zeros: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> residual: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> y: array<vec4<f32>>;

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

fn weights(a: u32, b: u32, c: u32, d: u32, scale: vec4<f32>, offset: vec4<f32>) -> mat4x4<f32> {
  return mat4x4(
    unpack4x8unorm(a) * scale + offset,
    unpack4x8unorm(b) * scale + offset,
    unpack4x8unorm(c) * scale + offset,
    unpack4x8unorm(d) * scale + offset,
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

fn finish(row: u32, column: u32) {
  let i = place(row, column);
  var value = params.gain * y[i];
  if (params.has_bias != 0) {
    value += bias[column / 4];
  }
  value = activate(value);
  if (params.has_residual != 0) {
    value += residual[(row * params.n + column) / 4];
  }
  y[i] = value;
}

fn store(row: u32, column: u32, sums: mat4x4<f32>) {
  if (row >= params.m) {
    return;
  }
  y[place(row, column)] = sums[0];
  if (column + 4 < params.n) {
    y[place(row, column + 4)] = sums[1];
  }
  if (column + 8 < params.n) {
    y[place(row, column + 8)] = sums[2];
  }
  if (column + 12 < params.n) {
    y[place(row, column + 12)] = sums[3];
  }
}

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let panels = (params.n + 15) / 16;
  let panel = id.x % panels;
  let row = id.x / panels * 16;
  if (row >= params.m) {
    return;
  }
  // Rows past the last repeat it; store() drops them.
  let last = params.m - 1;
  let quads = params.k / 4;
  let at0 = row * quads;
  let at1 = min(row + 1, last) * quads;
  let at2 = min(row + 2, last) * quads;
  let at3 = min(row + 3, last) * quads;
  let at4 = min(row + 4, last) * quads;
  let at5 = min(row + 5, last) * quads;
  let at6 = min(row + 6, last) * quads;
  let at7 = min(row + 7, last) * quads;
  let at8 = min(row + 8, last) * quads;
  let at9 = min(row + 9, last) * quads;
  let at10 = min(row + 10, last) * quads;
  let at11 = min(row + 11, last) * quads;
  let at12 = min(row + 12, last) * quads;
  let at13 = min(row + 13, last) * quads;
  let at14 = min(row + 14, last) * quads;
  let at15 = min(row + 15, last) * quads;
  var sum0 = mat4x4<f32>();
  var sum1 = mat4x4<f32>();
  var sum2 = mat4x4<f32>();
  var sum3 = mat4x4<f32>();
  var sum4 = mat4x4<f32>();
  var sum5 = mat4x4<f32>();
  var sum6 = mat4x4<f32>();
  var sum7 = mat4x4<f32>();
  var sum8 = mat4x4<f32>();
  var sum9 = mat4x4<f32>();
  var sum10 = mat4x4<f32>();
  var sum11 = mat4x4<f32>();
  var sum12 = mat4x4<f32>();
  var sum13 = mat4x4<f32>();
  var sum14 = mat4x4<f32>();
  var sum15 = mat4x4<f32>();
  let groups = (params.k + params.group - 1) / params.group;
  for (var g = 0u; g < groups; g++) {
    let step = steps(panel, g, groups);
    let end = min((g + 1) * params.group, params.k) / 4;
    for (var q = g * params.group / 4; q < end; q++) {
      let code = codes(panel, q);
      let w0 = weights(code.k0.x, code.k1.x, code.k2.x, code.k3.x, step.scale[0], step.offset[0]);
      let w1 = weights(code.k0.y, code.k1.y, code.k2.y, code.k3.y, step.scale[1], step.offset[1]);
      let w2 = weights(code.k0.z, code.k1.z, code.k2.z, code.k3.z, step.scale[2], step.offset[2]);
      let w3 = weights(code.k0.w, code.k1.w, code.k2.w, code.k3.w, step.scale[3], step.offset[3]);
      let x0 = x[at0 + q];
      sum0 += mat4x4<f32>(w0 * x0, w1 * x0, w2 * x0, w3 * x0);
      let x1 = x[at1 + q];
      sum1 += mat4x4<f32>(w0 * x1, w1 * x1, w2 * x1, w3 * x1);
      let x2 = x[at2 + q];
      sum2 += mat4x4<f32>(w0 * x2, w1 * x2, w2 * x2, w3 * x2);
      let x3 = x[at3 + q];
      sum3 += mat4x4<f32>(w0 * x3, w1 * x3, w2 * x3, w3 * x3);
      let x4 = x[at4 + q];
      sum4 += mat4x4<f32>(w0 * x4, w1 * x4, w2 * x4, w3 * x4);
      let x5 = x[at5 + q];
      sum5 += mat4x4<f32>(w0 * x5, w1 * x5, w2 * x5, w3 * x5);
      let x6 = x[at6 + q];
      sum6 += mat4x4<f32>(w0 * x6, w1 * x6, w2 * x6, w3 * x6);
      let x7 = x[at7 + q];
      sum7 += mat4x4<f32>(w0 * x7, w1 * x7, w2 * x7, w3 * x7);
      let x8 = x[at8 + q];
      sum8 += mat4x4<f32>(w0 * x8, w1 * x8, w2 * x8, w3 * x8);
      let x9 = x[at9 + q];
      sum9 += mat4x4<f32>(w0 * x9, w1 * x9, w2 * x9, w3 * x9);
      let x10 = x[at10 + q];
      sum10 += mat4x4<f32>(w0 * x10, w1 * x10, w2 * x10, w3 * x10);
      let x11 = x[at11 + q];
      sum11 += mat4x4<f32>(w0 * x11, w1 * x11, w2 * x11, w3 * x11);
      let x12 = x[at12 + q];
      sum12 += mat4x4<f32>(w0 * x12, w1 * x12, w2 * x12, w3 * x12);
      let x13 = x[at13 + q];
      sum13 += mat4x4<f32>(w0 * x13, w1 * x13, w2 * x13, w3 * x13);
      let x14 = x[at14 + q];
      sum14 += mat4x4<f32>(w0 * x14, w1 * x14, w2 * x14, w3 * x14);
      let x15 = x[at15 + q];
      sum15 += mat4x4<f32>(w0 * x15, w1 * x15, w2 * x15, w3 * x15);
    }
  }
  store(row, panel * 16, sum0);
  store(row + 1, panel * 16, sum1);
  store(row + 2, panel * 16, sum2);
  store(row + 3, panel * 16, sum3);
  store(row + 4, panel * 16, sum4);
  store(row + 5, panel * 16, sum5);
  store(row + 6, panel * 16, sum6);
  store(row + 7, panel * 16, sum7);
  store(row + 8, panel * 16, sum8);
  store(row + 9, panel * 16, sum9);
  store(row + 10, panel * 16, sum10);
  store(row + 11, panel * 16, sum11);
  store(row + 12, panel * 16, sum12);
  store(row + 13, panel * 16, sum13);
  store(row + 14, panel * 16, sum14);
  store(row + 15, panel * 16, sum15);
  // In a loop, so that an activation is compiled once.
  for (var r = row; r < min(row + 16, params.m); r++) {
    for (var column = panel * 16; column < min(panel * 16 + 16, params.n); column += 4) {
      finish(r, column);
    }
  }
}
