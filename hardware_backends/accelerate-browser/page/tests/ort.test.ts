// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { withoutEval } from "../ort-patch.mjs";
import { operatorList, parsePlacement } from "../src/compute/ort-placement";
import { checkInputs, overridesOf, zeros, type Declared } from "../src/compute/inputs";
import { pick } from "../src/compute/threads";

const INPUTS: Declared[] = [
  { name: "ids", dtype: "int64", shape: ["batch", "sequence"] },
  { name: "scale", dtype: "float32", shape: [1] },
];
const log = (text: string) => `2026-11-21 08:44:12.02 [V:onnxruntime:, x.cc:1 ${text}`;

describe("placement", () => {
  test("names the operators on the CPU", () => {
    const placement = parsePlacement([
      log("GetSupportedNodes] Operator type: [MatMul] index: [0] name: [mm] supported: [1]"),
      log("GetSupportedNodes] Operator type: [NonZero] index: [1] name: [nz] supported: [0]"),
      log("VerifyEachNodeIsAssignedToAnEp] Node placements"),
      log("VerifyEachNodeIsAssignedToAnEp]  Node(s) placed on [WebNNExecutionProvider]. Number of nodes: 2"),
      log("VerifyEachNodeIsAssignedToAnEp]   WEBNN_160_1 (WebNNExecutionProvider_WEBNN_160_1_0)"),
      log("VerifyEachNodeIsAssignedToAnEp]  Node(s) placed on [CPUExecutionProvider]. Number of nodes: 2"),
      log("VerifyEachNodeIsAssignedToAnEp]   NonZero (nz)"),
      log("VerifyEachNodeIsAssignedToAnEp]   NonZero (nz/2)"),
    ]);
    expect(placement.providers).toEqual({ WebNNExecutionProvider: 2, CPUExecutionProvider: 2 });
    expect(operatorList(placement.cpuOperators)).toBe("NonZero (2)");
  });

  test("takes what was refused where all nodes are on the CPU and none is listed", () => {
    const placement = parsePlacement([
      log("GetSupportedNodes] Operator type: [Tanh] index: [1] name: [] supported: [0]"),
      log("VerifyEachNodeIsAssignedToAnEp]  All nodes placed on [CPUExecutionProvider]. Number of nodes: 1"),
    ]);
    expect(placement).toEqual({ providers: { CPUExecutionProvider: 1 }, cpuOperators: { Tanh: 1 } });
  });

  test("finds nothing on the CPU where all nodes are elsewhere", () => {
    const lines = [
      log(
        "VerifyEachNodeIsAssignedToAnEp]  All nodes placed on [WebGpuExecutionProvider]. Number of nodes: 2",
      ),
    ];
    expect(parsePlacement(lines)).toEqual({ providers: { WebGpuExecutionProvider: 2 }, cpuOperators: {} });
  });
});

describe("inputs", () => {
  const good = new Map([
    ["ids", { dtype: "int64", shape: [2, 8] }],
    ["scale", { dtype: "float32", shape: [1] }],
  ]);

  test("that fit pass", () => {
    expect(() => {
      checkInputs(good, INPUTS);
    }).not.toThrow();
  });

  test.each([
    ["has no input", "extra", { dtype: "int64", shape: [1] }],
    ["is int32", "ids", { dtype: "int32", shape: [2, 8] }],
    ["has shape [2]", "ids", { dtype: "int64", shape: [2] }],
    ["has shape [3]", "scale", { dtype: "float32", shape: [3] }],
  ])("are refused: %s", (message, name, input) => {
    expect(() => {
      checkInputs(new Map([...good, [name, input]]), INPUTS);
    }).toThrow(message);
  });

  test("that are missing are named", () => {
    expect(() => {
      checkInputs(new Map(), INPUTS);
    }).toThrow("input ids is missing; the inputs are ids, scale");
  });

  test("of zeros take the given dimensions, and 1 for others", () => {
    const tensors = zeros(INPUTS, { batch: 3 });
    expect(tensors.get("ids")).toEqual({ dtype: "int64", shape: [3, 1], data: new Uint8Array(24) });
    expect(overridesOf(INPUTS, { batch: 3, other: 4 })).toEqual({ batch: 3 });
  });
});

test("more threads have to be clearly faster", () => {
  expect(pick({ "1": 100, "2": 105 })).toBe(1);
  expect(pick({ "1": 100, "2": 150, "4": 155 })).toBe(2);
  expect(pick({ "1": 100, "2": 90, "4": 300 })).toBe(4);
});

describe("onnxruntime-web without eval", () => {
  const name = "ort-wasm-simd-threaded.jspi.mjs";
  const script = readFileSync(
    new URL(`../node_modules/onnxruntime-web/dist/${name}`, import.meta.url),
    "utf8",
  );

  test("makes no function from a string", () => {
    expect(script).toContain("new Function");
    expect(withoutEval(script, name)).not.toContain("new Function");
  });

  test("is refused for a script it was not written for", () => {
    expect(() => withoutEval("export default 1", name)).toThrow("is not the script");
  });
});
