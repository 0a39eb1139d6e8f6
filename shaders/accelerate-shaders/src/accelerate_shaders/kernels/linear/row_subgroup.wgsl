// SPDX-License-Identifier: Apache-2.0
// As row_split, with sums that are added up within subgroups: one barrier instead of seven.
enable subgroups;

override slices: u32 = 64;

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

// One entry a subgroup, which has 4 invocations at least (WGSL specification, 16.15).
var<workgroup> parts: array<mat4x4<f32>, slices / 4>;

@compute @workgroup_size(slices)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) lane: u32,
  @builtin(subgroup_size) size: u32,
) {
  let panel = group.x;
  let row = group.y;
  let x_at = row * params.k;
  let w_at = panel * params.k * 4;
  var sum = mat4x4<f32>();
  for (var i = local; i < params.k; i += slices) {
    let at = w_at + 4 * i;
    sum += mat4x4<f32>(weight(at), weight(at + 1), weight(at + 2), weight(at + 3)) * x[x_at + i];
  }
  sum = mat4x4<f32>(
    subgroupAdd(sum[0]),
    subgroupAdd(sum[1]),
    subgroupAdd(sum[2]),
    subgroupAdd(sum[3]),
  );
  // In a workgroup of one dimension, a subgroup is a run of neighbours.
  if (lane == 0) {
    parts[local / size] = sum;
  }
  workgroupBarrier();
  if (local < 16) {
    var total = 0.0;
    for (var part = 0u; part < (slices + size - 1) / size; part++) {
      total += parts[part][local / 4][local % 4];
    }
    finish(row, panel * 16 + local, total);
  }
}
