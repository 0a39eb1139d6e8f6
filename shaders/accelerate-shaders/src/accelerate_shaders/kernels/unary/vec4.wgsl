// SPDX-License-Identifier: Apache-2.0
// One invocation makes four elements at a time. The numbers are those of `codes.Unary`.
override workgroup: u32 = 64;
// A pipeline for each: software adapters run every case of a `switch` and mask what is not wanted.
override operation: u32 = 0;

struct Params {
  count: u32,
  operation: u32,
  alpha: f32,
  beta: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

// Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26; error at most 1.5e-7.
fn erf(v: vec4<f32>) -> vec4<f32> {
  let a = abs(v);
  let t = 1.0 / (1.0 + 0.3275911 * a);
  let sum = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  return sign(v) * (1.0 - sum * exp(-a * a));
}

// Some drivers work tanh out by exponentials, which overflow; beyond 10 it is 1 in fp32.
fn safe_tanh(v: vec4<f32>) -> vec4<f32> {
  return tanh(clamp(v, vec4(-10.0), vec4(10.0)));
}

fn sigmoid(v: vec4<f32>) -> vec4<f32> {
  return 1.0 / (1.0 + exp(-clamp(v, vec4(-80.0), vec4(80.0))));
}

fn softplus(v: vec4<f32>) -> vec4<f32> {
  return max(v, vec4<f32>()) + log(1.0 + exp(-abs(v)));
}

// Return sin(v + turns * pi / 2). WGSL asks little of its sine, and SwiftShader's has errors of 1e-4.
// Reduction to a quarter turn and polynomials: Cephes, sinf.c; good for angles up to 8192.
fn sine(v: vec4<f32>, turns: i32) -> vec4<f32> {
  let quarter = round(v * 0.63661977);
  let r = ((v - quarter * 1.5703125) - quarter * 4.83751297e-4) - quarter * 7.54978995e-8;
  let z = r * r;
  let odd = ((-1.9515296e-4 * z + 8.3321609e-3) * z - 0.16666655) * z * r + r;
  let even = ((2.44331571e-5 * z - 1.38873163e-3) * z + 4.16666457e-2) * z * z - 0.5 * z + 1.0;
  let quadrant = vec4<i32>(quarter) + turns;
  let size = select(odd, even, (quadrant & vec4(1)) != vec4<i32>());
  return select(size, -size, (quadrant & vec4(2)) != vec4<i32>());
}

// WGSL leaves the power of a negative base undefined, and squares by logarithms lose digits.
fn power(base: vec4<f32>, exponent: f32) -> vec4<f32> {
  if (exponent == 2.0) {
    return base * base;
  }
  if (exponent == 3.0) {
    return base * base * base;
  }
  if (exponent == 0.0) {
    return vec4(1.0);
  }
  if (floor(exponent) != exponent) {
    return pow(base, vec4(exponent));
  }
  let size = pow(abs(base), vec4(exponent));
  let is_odd = fract(exponent * 0.5) != 0.0;
  return select(size, -size, (base < vec4<f32>()) & vec4(is_odd));
}

fn apply(v: vec4<f32>) -> vec4<f32> {
  let alpha = params.alpha;
  let beta = params.beta;
  switch (operation) {
    case 1: { return max(v, vec4<f32>()); }
    case 2: { return 0.5 * v * (1.0 + erf(v * 0.70710678)); }
    case 3: { return 0.5 * v * (1.0 + safe_tanh(0.79788456 * (v + 0.044715 * v * v * v))); }
    case 4: { return v * sigmoid(v); }
    case 5: { return v * sigmoid(1.702 * v); }
    case 6: { return safe_tanh(v); }
    case 7: { return sigmoid(v); }
    case 8: { return abs(v); }
    case 9: { return -v; }
    case 10: { return exp(v); }
    case 11: { return log(v); }
    case 12: { return sqrt(v); }
    case 13: { return 1.0 / sqrt(v); }
    case 14: { return 1.0 / v; }
    case 15: { return v * v; }
    case 16: { return erf(v); }
    case 17: { return sine(v, 0); }
    case 18: { return sine(v, 1); }
    case 19: { return floor(v); }
    case 20: { return ceil(v); }
    case 21: { return round(v); }
    case 22: { return sign(v); }
    case 23: { return alpha * v + beta; }
    case 24: { return clamp(v, vec4(alpha), vec4(beta)); }
    case 25: { return power(v, alpha); }
    case 26: { return select(v, alpha * v, v < vec4<f32>()); }
    case 27: { return select(v, alpha * (exp(v) - 1.0), v < vec4<f32>()); }
    case 28: { return beta * select(v, alpha * (exp(v) - 1.0), v < vec4<f32>()); }
    case 29: { return select(v, alpha * (exp(v / alpha) - 1.0), v < vec4<f32>()); }
    case 30: { return clamp(alpha * v + beta, vec4<f32>(), vec4(1.0)); }
    case 31: { return v * clamp(v / 6.0 + 0.5, vec4<f32>(), vec4(1.0)); }
    case 32: { return softplus(v); }
    case 33: { return v / (1.0 + abs(v)); }
    case 34: { return v * safe_tanh(softplus(v)); }
    case 35: { return sine(v, 0) / sine(v, 1); }
    case 36: { return atan(v); }
    default: { return v; }
  }
}

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  for (var i = id.x; i * 4 < params.count; i += groups.x * workgroup) {
    let value = apply(x[i]);
    let left = params.count - i * 4;
    if (left >= 4) {
      y[i] = value;
    } else { // what follows the last element may belong to another tensor
      y[i].x = value.x;
      if (left > 1) {
        y[i].y = value.y;
      }
      if (left > 2) {
        y[i].z = value.z;
      }
    }
  }
}
