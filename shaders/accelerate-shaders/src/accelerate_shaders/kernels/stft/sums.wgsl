// SPDX-License-Identifier: Apache-2.0
// One invocation makes one bin of one frame at a time.
override workgroup: u32 = 32;

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

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let n = params.frame_length;
  for (var i = id.x; i < params.batch * params.frames * params.bins; i += groups.x * workgroup) {
    let bin = i % params.bins;
    let frame = i / params.bins;
    let start = frame / params.frames * params.samples + frame % params.frames * params.frame_step;
    var sum = vec2<f32>();
    var angle = 0u; // bin * t modulo n
    for (var t = 0u; t < n; t++) {
      sum += x[start + t] * window[t] * root(angle, n);
      angle += bin;
      angle -= select(0, n, angle >= n);
    }
    y[i] = sum;
  }
}
