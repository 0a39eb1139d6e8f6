// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "vitest";
import { checkDevice, readPlan, type Plan } from "../../../accelerate-webgpu/page/plan/format";
import { fromDevice, toDevice } from "../../../accelerate-webgpu/page/plan/values";

const PLAN: Omit<Plan, "data"> = {
  name: "t",
  inputs: [],
  outputs: [],
  buffers: [{ role: "arena", size: 512, offset: 0 }],
  pipelines: [{ name: "a/b", source: "", bindings: ["read"], constants: {}, features: ["shader-f16"] }],
  dispatches: [],
  params_bytes: 0,
  weights_bytes: 0,
  weights_sha256: null,
};

function file(header: object, magic = "ACPLAN01", data: number[] = []): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(JSON.stringify(header));
  const bytes = new Uint8Array(44 + text.length + data.length);
  bytes.set(new TextEncoder().encode(magic));
  new DataView(bytes.buffer).setUint32(40, text.length, true);
  bytes.set(text, 44);
  bytes.set(data, 44 + text.length);
  return bytes;
}

const bytesOf = (view: ArrayBufferView<ArrayBuffer>) =>
  new Uint8Array(view.buffer, view.byteOffset, view.byteLength);

describe("a plan file", () => {
  test("is its header and what follows, wherever its bytes lie", () => {
    const good = file({ version: 1, ...PLAN }, "ACPLAN01", [1, 2, 3]);
    const inside = new Uint8Array(good.length + 5);
    inside.set(good, 5);
    for (const bytes of [good, inside.subarray(5)]) {
      const { data, ...plan } = readPlan(bytes);
      expect(plan).toEqual(PLAN);
      expect([...data]).toEqual([1, 2, 3]);
    }
  });

  test.each([
    ["is ACPLAN02", file(PLAN, "ACPLAN02")],
    ["no plan", file(PLAN, "ONNXMODL")],
    ["no plan", new Uint8Array(3)],
    ["cut off", file({ version: 1, ...PLAN }).subarray(0, 60)],
    ["cut off", file({ version: 1, ...PLAN }).subarray(0, 43)],
    ["version is 2", file({ version: 2, ...PLAN })],
    ["header cannot be read", file({ version: 1 }).fill(0xff, 50)],
  ])("of another kind is refused: %s", (message, bytes) => {
    expect(() => readPlan(bytes)).toThrow(message);
  });

  test.each([
    ["feature shader-f16", { features: new Set(), limits: { maxBufferSize: 512 } }],
    ["512 bytes, 256 are", { features: new Set(["shader-f16"]), limits: { maxBufferSize: 256 } }],
  ])("of another adapter is refused: %s", (message, device) => {
    const plan = { ...PLAN, data: new Uint8Array() };
    expect(() => {
      checkDevice(plan, device as unknown as GPUDevice);
    }).toThrow(message);
  });
});

describe("values", () => {
  test.each([
    ["float32", "f32", Float32Array.of(1.5, -2), Float32Array.of(1.5, -2)],
    ["int64", "i32", BigInt64Array.of(5n, -1n, -(2n ** 31n)), Int32Array.of(5, -1, -(2 ** 31))],
    ["bool", "i32", Uint8Array.of(1, 0, 1), Int32Array.of(1, 0, 1)],
    ["int8", "i32", Int8Array.of(-3, 4), Int32Array.of(-3, 4)],
  ] as const)("of %s cross and come back", (dtype, stored, host, device) => {
    const tensor = { dtype, shape: [host.length], data: bytesOf(host) };
    expect(toDevice(tensor, stored, "x")).toEqual(bytesOf(device));
    expect(fromDevice(bytesOf(device), stored, dtype)).toEqual(bytesOf(host));
  });

  test("of bool are true where they are not 0", () => {
    expect([...fromDevice(bytesOf(Int32Array.of(256, -1, 0)), "i32", "bool")]).toEqual([1, 1, 0]);
  });

  test.each([[2n ** 31n], [-(2n ** 31n) - 1n], [2n ** 32n]])("of int64 have to fit: %s", (value) => {
    const tensor = { dtype: "int64", shape: [2], data: bytesOf(BigInt64Array.of(0n, value)) };
    expect(() => toDevice(tensor, "i32", "ids")).toThrow("input ids has a value at 1");
  });

  test("of types that no plan takes are refused", () => {
    const tensor = { dtype: "uint64", shape: [1], data: new Uint8Array(8) };
    expect(() => toDevice(tensor, "u32", "x")).toThrow("uint64");
  });
});
