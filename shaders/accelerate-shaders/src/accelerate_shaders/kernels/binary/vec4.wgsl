// SPDX-License-Identifier: Apache-2.0
// One invocation makes a run of neighbours, four at a time. The numbers are those of `codes.Binary`.
override workgroup: u32 = 64;
// A pipeline for each: software adapters run every case of a `switch` and mask what is not wanted.
override operation: u32 = 0;
override run: u32 = 1;
override is_flat: u32 = 1; // whether a, b and y lie in the same order, without gaps

struct Params {
  shape: vec4<u32>,
  a_strides: vec4<u32>,
  b_strides: vec4<u32>,
  operation: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> b: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;

// WGSL leaves the power of a negative base undefined, and squares by logarithms lose digits.
fn power(base: vec4<f32>, exponent: vec4<f32>) -> vec4<f32> {
  let is_whole = floor(exponent) == exponent;
  let is_odd = fract(exponent * 0.5) != vec4<f32>();
  let is_negative = base < vec4<f32>();
  let size = pow(select(base, -base, is_negative & is_whole), exponent);
  let signed = select(size, -size, is_negative & is_whole & is_odd);
  return select(select(signed, base * base, exponent == vec4(2.0)), vec4(1.0), exponent == vec4<f32>());
}

// With the sign of a, below the size of b: a quotient that was rounded to a whole number is one off.
fn remainder(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
  let rest = a - b * trunc(a / b);
  let step = sign(a) * abs(b);
  let lower = select(rest, rest - step, abs(rest) >= abs(b));
  return select(lower, lower + step, lower * a < vec4<f32>());
}

fn apply(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
  switch (operation) {
    case 0: { return a + b; }
    case 1: { return a - b; }
    case 2: { return a * b; }
    case 3: { return a / b; }
    case 4: { return power(a, b); }
    case 5: { return max(a, b); }
    case 6: { return min(a, b); }
    case 7: { return remainder(a, b); }
    case 8: { return select(a, a * b, a < vec4<f32>()); }
    default: { return a; }
  }
}

// Return where a row starts in an operand.
fn offset(place: vec3<u32>, strides: vec4<u32>) -> u32 {
  return dot(place, strides.xyz);
}

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let shape = params.shape;
  let width = shape.w / 4;
  if (is_flat != 0) {
    for (var i = id.x; i < width; i += groups.x * workgroup) {
      y[i] = apply(a[i], b[i]);
    }
    return;
  }
  let runs = (width + run - 1) / run; // in a row
  let count = shape.x * shape.y * shape.z * runs;
  for (var i = id.x; i < count; i += groups.x * workgroup) {
    let row = i / runs;
    let plane = row / shape.z;
    let place = vec3(plane / shape.y, plane % shape.y, row % shape.z);
    let a_at = offset(place, params.a_strides);
    let b_at = offset(place, params.b_strides);
    let start = (i % runs) * run;
    let end = min(width, start + run);
    for (var j = start; j < end; j++) {
      var left = a[a_at / 4 + j * params.a_strides.w];
      if (params.a_strides.w == 0) {
        left = vec4(left[a_at % 4]);
      }
      var right = b[b_at / 4 + j * params.b_strides.w];
      if (params.b_strides.w == 0) {
        right = vec4(right[b_at % 4]);
      }
      y[row * width + j] = apply(left, right);
    }
  }
}
