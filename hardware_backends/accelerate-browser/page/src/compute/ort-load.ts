// SPDX-License-Identifier: Apache-2.0
import type * as Ort from "onnxruntime-web";
import { describe, PageFailure } from "../wire/errors";
import { trapOf } from "./ort-errors";
import { tapOrtLog } from "./ort-log";
import probe from "./probe.onnx";

export type OrtModule = typeof Ort;
/** Which build of onnxruntime-web: both that reach a GPU or NPU suspend WASM, in different ways. */
export type Bundle = "wasm" | "jspi" | "webgpu";

/** Import onnxruntime-web from a folder of this origin; its thread count is fixed from then on. */
export async function importOrt(folder: string, bundle: Bundle, threads: number): Promise<OrtModule> {
  tapOrtLog();
  const url = new URL(folder, location.origin).href;
  const ort = (await import(`${url}ort.${bundle}.min.mjs`)) as OrtModule;
  ort.env.wasm.wasmPaths = url;
  ort.env.wasm.numThreads = threads;
  return ort;
}

/** Whether this browser can suspend WASM natively, which the smaller GPU build needs. */
export function hasJspi(): boolean {
  return "Suspending" in WebAssembly;
}

/** Multiply two matrices on a provider and compare; PageFailure when it cannot or errs, or its trap. */
export async function proveProvider(
  ort: OrtModule,
  options: Ort.InferenceSession.SessionOptions,
): Promise<void> {
  let session: Ort.InferenceSession | null = null;
  try {
    session = await ort.InferenceSession.create(probe, options);
    const a = new ort.Tensor("float32", Float32Array.of(1, 2, 3, 4), [2, 2]);
    const b = new ort.Tensor("float32", Float32Array.of(5, 6, 7, 8), [2, 2]);
    const { y } = await session.run({ a, b });
    const values = Array.from((await y?.getData(true)) as Float32Array);
    if (values.join() !== "19,22,43,50") throw new Error(`a 2x2 matrix product came out as ${values.join()}`);
  } catch (error) {
    throw (
      trapOf(error) ??
      new PageFailure("unavailable", `onnxruntime-web does not compute here: ${describe(error)}`, {
        cause: error,
      })
    );
  } finally {
    await session?.release();
  }
}
