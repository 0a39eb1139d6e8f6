// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "vitest";
import { loadFailure, runFailure, trapOf } from "../src/compute/ort-errors";
import { PageFailure, toPageError } from "../src/wire/errors";

test("an error that has a kind keeps it, whatever its class", () => {
  expect(toPageError(new PageFailure("model", "bad"))).toMatchObject({ kind: "model", message: "bad" });
  const foreign = Object.assign(new Error("gone"), { kind: "device_lost" });
  expect(toPageError(foreign, "internal").kind).toBe("device_lost");
  expect(toPageError(Object.assign(new Error("x"), { kind: "nonsense" })).kind).toBe("internal");
});

test("anything thrown can cross", () => {
  expect(toPageError("just text")).toMatchObject({ message: "just text", kind: "internal" });
  expect(toPageError(undefined, "unavailable").kind).toBe("unavailable");
  // Half a surrogate pair is no UTF-8, and would make the whole message unreadable.
  expect(toPageError(new Error("\ud800")).message).toBe("\ufffd");
  expect(toPageError(new Error("x".repeat(1 << 20))).message.length).toBeLessThan(1 << 15);
});

test.each([
  [
    "Can't create a session. ERROR_CODE: 7, ERROR_MESSAGE: Failed to load model because protobuf parsing failed.",
    "model",
  ],
  [
    "ERROR_CODE: 1, ERROR_MESSAGE: Fatal error: com.example:Frobnicate(-1) is not a registered function/op",
    "model",
  ],
  ["ERROR_CODE: 9, ERROR_MESSAGE: Could not find an implementation for Foo(1)", "model"],
  ["Can't create a session. failed to allocate a buffer of size 3000000000.", "out_of_memory"],
])("loading: %s", (message, kind) => {
  expect(loadFailure(new Error(message), "m")).toMatchObject({ kind });
});

test.each([
  ["failed to call OrtRun(). ERROR_CODE: 2, ERROR_MESSAGE: Got invalid dimensions for input", "model"],
  ["failed to call OrtRun(). ERROR_CODE: 1, ERROR_MESSAGE: Program Add requires f16", "unsupported"],
  ["failed to call OrtRun(). ERROR_CODE: 6, ERROR_MESSAGE: std::bad_alloc", "out_of_memory"],
  ["failed to call OrtRun(). ERROR_CODE: 6, ERROR_MESSAGE: something else", "internal"],
])("running: %s", (message, kind) => {
  expect(runFailure(new Error(message), "m")).toMatchObject({ kind });
});

test("a trap is passed on as it is", () => {
  const trap = new WebAssembly.RuntimeError("unreachable");
  expect(loadFailure(trap, "m")).toBe(trap);
  expect(runFailure(trap, "m")).toBe(trap);
});

test.each([
  [new Error("no available backend found. ERR: [wasm] RuntimeError: Out of bounds memory access"), true],
  [new Error("no available backend found. ERR: [wasm] RuntimeError: Aborted(CompileError: no SIMD)"), false],
  [new Error("no available backend found. ERR: [wasm] TypeError: Load failed"), false],
])("a trap at the start is told from a verdict: %s", (error, isTrap) => {
  expect(trapOf(error) instanceof WebAssembly.RuntimeError).toBe(isTrap);
});
