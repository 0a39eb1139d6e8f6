// SPDX-License-Identifier: Apache-2.0
// As registers16, with 32 rows: a quarter fewer loads, which are what takes the time where a driver
// gathers them lane by lane.
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
  let row = id.x / panels * 32;
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
  let at8 = min(row + 8, last) * depth4;
  let at9 = min(row + 9, last) * depth4;
  let at10 = min(row + 10, last) * depth4;
  let at11 = min(row + 11, last) * depth4;
  let at12 = min(row + 12, last) * depth4;
  let at13 = min(row + 13, last) * depth4;
  let at14 = min(row + 14, last) * depth4;
  let at15 = min(row + 15, last) * depth4;
  let at16 = min(row + 16, last) * depth4;
  let at17 = min(row + 17, last) * depth4;
  let at18 = min(row + 18, last) * depth4;
  let at19 = min(row + 19, last) * depth4;
  let at20 = min(row + 20, last) * depth4;
  let at21 = min(row + 21, last) * depth4;
  let at22 = min(row + 22, last) * depth4;
  let at23 = min(row + 23, last) * depth4;
  let at24 = min(row + 24, last) * depth4;
  let at25 = min(row + 25, last) * depth4;
  let at26 = min(row + 26, last) * depth4;
  let at27 = min(row + 27, last) * depth4;
  let at28 = min(row + 28, last) * depth4;
  let at29 = min(row + 29, last) * depth4;
  let at30 = min(row + 30, last) * depth4;
  let at31 = min(row + 31, last) * depth4;
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
  var sum16 = mat4x4<f32>();
  var sum17 = mat4x4<f32>();
  var sum18 = mat4x4<f32>();
  var sum19 = mat4x4<f32>();
  var sum20 = mat4x4<f32>();
  var sum21 = mat4x4<f32>();
  var sum22 = mat4x4<f32>();
  var sum23 = mat4x4<f32>();
  var sum24 = mat4x4<f32>();
  var sum25 = mat4x4<f32>();
  var sum26 = mat4x4<f32>();
  var sum27 = mat4x4<f32>();
  var sum28 = mat4x4<f32>();
  var sum29 = mat4x4<f32>();
  var sum30 = mat4x4<f32>();
  var sum31 = mat4x4<f32>();
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
    let x8 = x[at8 + i];
    sum8 += mat4x4<f32>(w0 * x8, w1 * x8, w2 * x8, w3 * x8);
    let x9 = x[at9 + i];
    sum9 += mat4x4<f32>(w0 * x9, w1 * x9, w2 * x9, w3 * x9);
    let x10 = x[at10 + i];
    sum10 += mat4x4<f32>(w0 * x10, w1 * x10, w2 * x10, w3 * x10);
    let x11 = x[at11 + i];
    sum11 += mat4x4<f32>(w0 * x11, w1 * x11, w2 * x11, w3 * x11);
    let x12 = x[at12 + i];
    sum12 += mat4x4<f32>(w0 * x12, w1 * x12, w2 * x12, w3 * x12);
    let x13 = x[at13 + i];
    sum13 += mat4x4<f32>(w0 * x13, w1 * x13, w2 * x13, w3 * x13);
    let x14 = x[at14 + i];
    sum14 += mat4x4<f32>(w0 * x14, w1 * x14, w2 * x14, w3 * x14);
    let x15 = x[at15 + i];
    sum15 += mat4x4<f32>(w0 * x15, w1 * x15, w2 * x15, w3 * x15);
    let x16 = x[at16 + i];
    sum16 += mat4x4<f32>(w0 * x16, w1 * x16, w2 * x16, w3 * x16);
    let x17 = x[at17 + i];
    sum17 += mat4x4<f32>(w0 * x17, w1 * x17, w2 * x17, w3 * x17);
    let x18 = x[at18 + i];
    sum18 += mat4x4<f32>(w0 * x18, w1 * x18, w2 * x18, w3 * x18);
    let x19 = x[at19 + i];
    sum19 += mat4x4<f32>(w0 * x19, w1 * x19, w2 * x19, w3 * x19);
    let x20 = x[at20 + i];
    sum20 += mat4x4<f32>(w0 * x20, w1 * x20, w2 * x20, w3 * x20);
    let x21 = x[at21 + i];
    sum21 += mat4x4<f32>(w0 * x21, w1 * x21, w2 * x21, w3 * x21);
    let x22 = x[at22 + i];
    sum22 += mat4x4<f32>(w0 * x22, w1 * x22, w2 * x22, w3 * x22);
    let x23 = x[at23 + i];
    sum23 += mat4x4<f32>(w0 * x23, w1 * x23, w2 * x23, w3 * x23);
    let x24 = x[at24 + i];
    sum24 += mat4x4<f32>(w0 * x24, w1 * x24, w2 * x24, w3 * x24);
    let x25 = x[at25 + i];
    sum25 += mat4x4<f32>(w0 * x25, w1 * x25, w2 * x25, w3 * x25);
    let x26 = x[at26 + i];
    sum26 += mat4x4<f32>(w0 * x26, w1 * x26, w2 * x26, w3 * x26);
    let x27 = x[at27 + i];
    sum27 += mat4x4<f32>(w0 * x27, w1 * x27, w2 * x27, w3 * x27);
    let x28 = x[at28 + i];
    sum28 += mat4x4<f32>(w0 * x28, w1 * x28, w2 * x28, w3 * x28);
    let x29 = x[at29 + i];
    sum29 += mat4x4<f32>(w0 * x29, w1 * x29, w2 * x29, w3 * x29);
    let x30 = x[at30 + i];
    sum30 += mat4x4<f32>(w0 * x30, w1 * x30, w2 * x30, w3 * x30);
    let x31 = x[at31 + i];
    sum31 += mat4x4<f32>(w0 * x31, w1 * x31, w2 * x31, w3 * x31);
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
  store(row + 8, places, sum8);
  store(row + 9, places, sum9);
  store(row + 10, places, sum10);
  store(row + 11, places, sum11);
  store(row + 12, places, sum12);
  store(row + 13, places, sum13);
  store(row + 14, places, sum14);
  store(row + 15, places, sum15);
  store(row + 16, places, sum16);
  store(row + 17, places, sum17);
  store(row + 18, places, sum18);
  store(row + 19, places, sum19);
  store(row + 20, places, sum20);
  store(row + 21, places, sum21);
  store(row + 22, places, sum22);
  store(row + 23, places, sum23);
  store(row + 24, places, sum24);
  store(row + 25, places, sum25);
  store(row + 26, places, sum26);
  store(row + 27, places, sum27);
  store(row + 28, places, sum28);
  store(row + 29, places, sum29);
  store(row + 30, places, sum30);
  store(row + 31, places, sum31);
  if (params.has_bias + params.has_residual + params.activation == 0) {
    return;
  }
  for (var c = 0u; c < min(4, columns4 - column4); c++) {
    var shift = vec4<f32>();
    if (params.has_bias != 0) {
      shift = bias[column4 + c];
    }
    for (var r = row; r < min(row + 32, params.m); r++) {
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
