// SPDX-License-Identifier: Apache-2.0
// For GPUs: one workgroup computes a tile of 8 size x 8 size, each invocation 8 x 8 of it in
// registers. 16 rows of the depth at a time are shared, x transposed. Raw sums are stored first and
// finished in a loop: so an activation is compiled once.
override size: u32 = 8;

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

// Where four columns of row 0 lie in y.
fn place(column4: u32) -> u32 {
  let block4 = params.block / 4;
  return column4 / block4 * (params.block_stride / 4) + column4 % block4;
}

fn store(row: u32, start: u32, left: vec4<f32>, next: u32, right: vec4<f32>, both: bool) {
  if (row < params.m) {
    y[start + row * (params.block / 4)] = left;
    if (both) {
      y[next + row * (params.block / 4)] = right;
    }
  }
}

// [16][rows / 4] of x and [16][columns / 4] of w.
var<workgroup> x_tile: array<vec4<f32>, 32 * size>;
var<workgroup> w_tile: array<vec4<f32>, 32 * size>;

// x of a row at four successive depths; 0 outside.
fn load_x(row: u32, depth4: u32) -> vec4<f32> {
  if (row >= params.m || depth4 >= params.k / 4) {
    return vec4<f32>();
  }
  return x[row * (params.k / 4) + depth4];
}

fn load_w(depth: u32, column4: u32) -> vec4<f32> {
  if (depth >= params.k || column4 >= params.n / 4) {
    return vec4<f32>();
  }
  return weight((column4 / 4 * params.k + depth) * 4 + column4 % 4);
}

@compute @workgroup_size(size, size)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
  @builtin(local_invocation_index) index: u32,
) {
  let first_row = group.y * 8 * size;
  let first_column4 = group.x * 2 * size;
  let pitch = 2 * size;
  var a0 = vec4<f32>();
  var b0 = vec4<f32>();
  var a1 = vec4<f32>();
  var b1 = vec4<f32>();
  var a2 = vec4<f32>();
  var b2 = vec4<f32>();
  var a3 = vec4<f32>();
  var b3 = vec4<f32>();
  var a4 = vec4<f32>();
  var b4 = vec4<f32>();
  var a5 = vec4<f32>();
  var b5 = vec4<f32>();
  var a6 = vec4<f32>();
  var b6 = vec4<f32>();
  var a7 = vec4<f32>();
  var b7 = vec4<f32>();
  for (var depth = 0u; depth < params.k; depth += 16) {
    // Blocks of 4 x 4: first those of x, then those of w.
    for (var i = index; i < 8 * pitch; i += size * size) {
      if (i < 4 * pitch) {
        // Neighbours read successive depths of a row.
        let row = first_row + i / 4 * 4;
        let depth4 = depth / 4 + i % 4;
        let block = transpose(mat4x4<f32>(
          load_x(row, depth4),
          load_x(row + 1, depth4),
          load_x(row + 2, depth4),
          load_x(row + 3, depth4),
        ));
        let at = i % 4 * 4 * pitch + i / 4;
        x_tile[at] = block[0];
        x_tile[at + pitch] = block[1];
        x_tile[at + 2 * pitch] = block[2];
        x_tile[at + 3 * pitch] = block[3];
      } else {
        // Neighbours read successive columns of a panel.
        let j = i - 4 * pitch;
        let column4 = j / 16 * 4 + j % 4;
        let d = j / 4 % 4;
        for (var e = d; e < 16; e += 4) {
          w_tile[e * pitch + column4] = load_w(depth + e, first_column4 + column4);
        }
      }
    }
    workgroupBarrier();
    for (var d = 0u; d < 16; d++) {
      let u = x_tile[d * pitch + local.y];
      let v = x_tile[d * pitch + local.y + size];
      let p = w_tile[d * pitch + local.x];
      let q = w_tile[d * pitch + local.x + size];
      a0 += u.x * p;
      b0 += u.x * q;
      a1 += u.y * p;
      b1 += u.y * q;
      a2 += u.z * p;
      b2 += u.z * q;
      a3 += u.w * p;
      b3 += u.w * q;
      a4 += v.x * p;
      b4 += v.x * q;
      a5 += v.y * p;
      b5 += v.y * q;
      a6 += v.z * p;
      b6 += v.z * q;
      a7 += v.w * p;
      b7 += v.w * q;
    }
    workgroupBarrier();
  }
  let row = first_row + 4 * local.y;
  let more = row + 4 * size;
  let column4 = first_column4 + local.x;
  let both = column4 + size < params.n / 4;
  if (column4 >= params.n / 4) {
    return;
  }
  let start = place(column4);
  let next = place(column4 + size);
  store(row, start, a0, next, b0, both);
  store(row + 1, start, a1, next, b1, both);
  store(row + 2, start, a2, next, b2, both);
  store(row + 3, start, a3, next, b3, both);
  store(more, start, a4, next, b4, both);
  store(more + 1, start, a5, next, b5, both);
  store(more + 2, start, a6, next, b6, both);
  store(more + 3, start, a7, next, b7, both);
  if (params.has_bias + params.has_residual + params.activation == 0) {
    return;
  }
  for (var c = column4; c < min(column4 + 2 * size, params.n / 4); c += size) {
    var shift = vec4<f32>();
    if (params.has_bias != 0) {
      shift = bias[c];
    }
    for (var i = 0u; i < 8; i++) {
      let r = row + i % 4 + i / 4 * 4 * size;
      if (r < params.m) {
        let at = place(c) + r * (params.block / 4);
        var value = y[at] + shift;
        if (params.activation != 0) {
          value = activate(value);
        }
        if (params.has_residual != 0) {
          value += residual[r * (params.n / 4) + c];
        }
        y[at] = value;
      }
    }
  }
}
