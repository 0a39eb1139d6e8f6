// SPDX-License-Identifier: Apache-2.0
// One invocation transforms one frame at a time, in place: even samples as real and odd ones as
// imaginary parts of half as many numbers, of which the bins are made afterwards. Radix 2 (Cooley and
// Tukey 1965), decimated in time.
override workgroup: u32 = 8;

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

fn times(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
  return vec2(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x);
}

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let n = params.frame_length;
  let half = n / 2;
  let shift = countLeadingZeros(half) + 1; // of a number of `half` places, turned round
  for (var frame = id.x; frame < params.batch * params.frames; frame += groups.x * workgroup) {
    let start = frame / params.frames * params.samples + frame % params.frames * params.frame_step;
    let base = frame * params.bins;
    for (var t = 0u; t < half; t++) {
      let pair = vec2(x[start + 2 * t] * window[2 * t], x[start + 2 * t + 1] * window[2 * t + 1]);
      y[base + (reverseBits(t) >> shift)] = pair;
    }
    for (var width = 1u; width < half; width *= 2) {
      for (var j = 0u; j < width; j++) {
        let turn = root(j, 2 * width);
        for (var k = base + j; k < base + half; k += 2 * width) {
          let a = y[k];
          let b = times(turn, y[k + width]);
          y[k] = a + b;
          y[k + width] = a - b;
        }
      }
    }
    let first = y[base];
    y[base] = vec2(first.x + first.y, 0.0);
    y[base + half] = vec2(first.x - first.y, 0.0);
    for (var k = 1u; k <= half / 2; k++) {
      let a = y[base + k];
      let b = y[base + half - k] * vec2(1.0, -1.0);
      let even = 0.5 * (a + b);
      let odd = 0.5 * vec2(a.y - b.y, b.x - a.x); // (a - b) / 2i
      let turned = times(root(k, n), odd);
      y[base + k] = even + turned;
      y[base + half - k] = (even - turned) * vec2(1.0, -1.0);
    }
  }
}
