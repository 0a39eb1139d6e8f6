// SPDX-License-Identifier: Apache-2.0
// One invocation makes a run of neighbours. The numbers are those of `codes.BinaryI32`.
override workgroup: u32 = 16;
override run: u32 = 16;
// A pipeline for each: software adapters run every case of a `switch` and mask what is not wanted.
override operation: u32 = 0;

struct Params {
  shape: vec4<u32>,
  a_strides: vec4<u32>,
  b_strides: vec4<u32>,
  operation: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> a: array<i32>;
@group(0) @binding(2) var<storage, read_write> b: array<i32>;
@group(0) @binding(3) var<storage, read_write> y: array<i32>;

// What `%` gives for negative operands is not the same on all drivers.
fn remainder(a: i32, b: i32) -> i32 {
  return a - b * (a / b);
}

fn modulo(a: i32, b: i32) -> i32 {
  let rest = remainder(a, b);
  return select(rest, rest + b, rest != 0 && (rest < 0) != (b < 0));
}

// Squares and products of a. A negative power of all but 1 and -1 is a fraction: 0.
fn power(a: i32, b: i32) -> i32 {
  if (b < 0) {
    return select(0, select(1, a, (b & 1) != 0), abs(a) == 1);
  }
  var result = 1;
  var square = a;
  for (var left = b; left > 0; left >>= 1) {
    if ((left & 1) != 0) {
      result *= square;
    }
    square *= square;
  }
  return result;
}

fn apply(a: i32, b: i32) -> i32 {
  switch (operation) {
    case 0: { return a + b; }
    case 1: { return a - b; }
    case 2: { return a * b; }
    case 3: { return a / b; }
    case 4: { return power(a, b); }
    case 5: { return max(a, b); }
    case 6: { return min(a, b); }
    case 7: { return remainder(a, b); }
    case 8: { return modulo(a, b); }
    case 9: { return i32(a == b); }
    case 10: { return i32(a != b); }
    case 11: { return i32(a < b); }
    case 12: { return i32(a <= b); }
    case 13: { return i32(a > b); }
    case 14: { return i32(a >= b); }
    case 15: { return i32(a != 0 && b != 0); }
    case 16: { return i32(a != 0 || b != 0); }
    case 17: { return i32((a != 0) != (b != 0)); }
    default: { return a; }
  }
}

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let shape = params.shape;
  let width = shape.w;
  let runs = (width + run - 1) / run; // in a row
  let count = shape.x * shape.y * shape.z * runs;
  for (var i = id.x; i < count; i += groups.x * workgroup) {
    let row = i / runs;
    let plane = row / shape.z;
    let place = vec3(plane / shape.y, plane % shape.y, row % shape.z);
    let a_at = dot(place, params.a_strides.xyz);
    let b_at = dot(place, params.b_strides.xyz);
    let start = (i % runs) * run;
    let end = min(width, start + run);
    for (var j = start; j < end; j++) {
      y[row * width + j] = apply(a[a_at + j * params.a_strides.w], b[b_at + j * params.b_strides.w]);
    }
  }
}
