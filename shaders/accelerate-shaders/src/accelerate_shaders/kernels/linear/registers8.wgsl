// SPDX-License-Identifier: Apache-2.0
// One invocation computes 8 rows of one panel of 16 columns in registers. Raw sums are stored
// first and finished in a loop: so an activation is compiled once, not 32 times.
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
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> residual: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;

// Four columns of one row of a panel; a panel has k rows of 16 columns.
fn weight(at: u32) -> vec4<f32> {
  return w[at];
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

const outside = 0xffffffffu;

// Store 16 columns of a row; `places` are where they lie in row 0, or outside.
fn store(row: u32, places: vec4<u32>, sums: mat4x4<f32>) {
  if (row >= params.m) {
    return;
  }
  let start = row * (params.block / 4);
  y[start + places.x] = sums[0];
  if (places.y != outside) {
    y[start + places.y] = sums[1];
  }
  if (places.z != outside) {
    y[start + places.z] = sums[2];
  }
  if (places.w != outside) {
    y[start + places.w] = sums[3];
  }
}

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let panels = (params.n + 15) / 16;
  let panel = id.x % panels;
  let row = id.x / panels * 8;
  if (row >= params.m) {
    return;
  }
  let depth4 = params.k / 4;
  // Rows past the last repeat it; store() drops them.
  let last = params.m - 1;
  let at0 = row * depth4;
  let at1 = min(row + 1, last) * depth4;
  let at2 = min(row + 2, last) * depth4;
  let at3 = min(row + 3, last) * depth4;
  let at4 = min(row + 4, last) * depth4;
  let at5 = min(row + 5, last) * depth4;
  let at6 = min(row + 6, last) * depth4;
  let at7 = min(row + 7, last) * depth4;
  var sum0 = mat4x4<f32>();
  var sum1 = mat4x4<f32>();
  var sum2 = mat4x4<f32>();
  var sum3 = mat4x4<f32>();
  var sum4 = mat4x4<f32>();
  var sum5 = mat4x4<f32>();
  var sum6 = mat4x4<f32>();
  var sum7 = mat4x4<f32>();
  var at = panel * params.k * 4;
  for (var i = 0u; i < depth4; i++) {
    let w0 = mat4x4<f32>(weight(at), weight(at + 4), weight(at + 8), weight(at + 12));
    let w1 = mat4x4<f32>(weight(at + 1), weight(at + 5), weight(at + 9), weight(at + 13));
    let w2 = mat4x4<f32>(weight(at + 2), weight(at + 6), weight(at + 10), weight(at + 14));
    let w3 = mat4x4<f32>(weight(at + 3), weight(at + 7), weight(at + 11), weight(at + 15));
    at += 16;
    let x0 = x[at0 + i];
    sum0 += mat4x4<f32>(w0 * x0, w1 * x0, w2 * x0, w3 * x0);
    let x1 = x[at1 + i];
    sum1 += mat4x4<f32>(w0 * x1, w1 * x1, w2 * x1, w3 * x1);
    let x2 = x[at2 + i];
    sum2 += mat4x4<f32>(w0 * x2, w1 * x2, w2 * x2, w3 * x2);
    let x3 = x[at3 + i];
    sum3 += mat4x4<f32>(w0 * x3, w1 * x3, w2 * x3, w3 * x3);
    let x4 = x[at4 + i];
    sum4 += mat4x4<f32>(w0 * x4, w1 * x4, w2 * x4, w3 * x4);
    let x5 = x[at5 + i];
    sum5 += mat4x4<f32>(w0 * x5, w1 * x5, w2 * x5, w3 * x5);
    let x6 = x[at6 + i];
    sum6 += mat4x4<f32>(w0 * x6, w1 * x6, w2 * x6, w3 * x6);
    let x7 = x[at7 + i];
    sum7 += mat4x4<f32>(w0 * x7, w1 * x7, w2 * x7, w3 * x7);
  }
  let columns4 = params.n / 4;
  let column4 = panel * 4;
  let block4 = params.block / 4;
  let columns = vec4<u32>(column4) + vec4<u32>(0, 1, 2, 3);
  let starts = columns / block4 * (params.block_stride / 4) + columns % block4;
  let places = select(vec4<u32>(outside), starts, columns < vec4<u32>(columns4));
  store(row, places, sum0);
  store(row + 1, places, sum1);
  store(row + 2, places, sum2);
  store(row + 3, places, sum3);
  store(row + 4, places, sum4);
  store(row + 5, places, sum5);
  store(row + 6, places, sum6);
  store(row + 7, places, sum7);
  if (params.has_bias + params.has_residual + params.activation == 0) {
    return;
  }
  for (var c = 0u; c < min(4, columns4 - column4); c++) {
    var shift = vec4<f32>();
    if (params.has_bias != 0) {
      shift = bias[column4 + c];
    }
    for (var r = row; r < min(row + 8, params.m); r++) {
      let i = places[c] + r * block4;
      var value = y[i] + shift;
      if (params.activation != 0) {
        value = activate(value);
      }
      if (params.has_residual != 0) {
        value += residual[r * columns4 + column4 + c];
      }
      y[i] = value;
    }
  }
}
