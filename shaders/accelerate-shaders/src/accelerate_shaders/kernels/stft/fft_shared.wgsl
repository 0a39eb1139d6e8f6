// SPDX-License-Identifier: Apache-2.0
// One workgroup transforms one frame at a time, in shared memory. Radix 2 (Cooley and Tukey 1965),
// decimated in time.
// Not `workgroup`: naga then takes `var<workgroup>` for it.
override group_size: u32 = 64;

struct Params {
  batch: u32,
  samples: u32,
  frames: u32,
  frame_length: u32,
  frame_step: u32,
  bins: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read> window: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<vec2<f32>>;

var<workgroup> values: array<vec2<f32>, 2048>; // as much as every device has

// Return exp(-2 pi i j / n) for j < n. WGSL asks little of its sine: reduced to a quarter turn, and
// polynomials of Cephes, sinf.c.
fn root(j: u32, n: u32) -> vec2<f32> {
  let quarter = (4 * j + n / 2) / n;
  let r = f32(i32(4 * j) - i32(quarter * n)) / f32(n) * 1.57079633;
  let z = r * r;
  let odd = ((-1.9515296e-4 * z + 8.3321609e-3) * z - 0.16666655) * z * r + r;
  let even = ((2.44331571e-5 * z - 1.38873163e-3) * z + 4.16666457e-2) * z * z - 0.5 * z + 1.0;
  switch (quarter % 4) {
    case 0: { return vec2(even, -odd); }
    case 1: { return vec2(-odd, -even); }
    case 2: { return vec2(-even, odd); }
    default: { return vec2(odd, even); }
  }
}

fn times(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
  return vec2(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x);
}

@compute @workgroup_size(group_size)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
) {
  let n = params.frame_length;
  let shift = countLeadingZeros(n) + 1; // of a number of n places, turned round
  for (var frame = group.x; frame < params.batch * params.frames; frame += groups.x) {
    let start = frame / params.frames * params.samples + frame % params.frames * params.frame_step;
    for (var t = local.x; t < n; t += group_size) {
      values[reverseBits(t) >> shift] = vec2(x[start + t] * window[t], 0.0);
    }
    for (var width = 1u; width < n; width *= 2) {
      workgroupBarrier();
      for (var i = local.x; i < n / 2; i += group_size) {
        let j = i % width;
        let k = i / width * width * 2 + j;
        let a = values[k];
        let b = times(root(j, 2 * width), values[k + width]);
        values[k] = a + b;
        values[k + width] = a - b;
      }
    }
    workgroupBarrier();
    for (var bin = local.x; bin < params.bins; bin += group_size) {
      y[frame * params.bins + bin] = values[bin];
    }
    workgroupBarrier(); // nobody may begin the next frame before this was written
  }
}
