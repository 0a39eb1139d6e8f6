// SPDX-License-Identifier: Apache-2.0
// The WASM engine: onnxruntime-web on the CPU of any browser.
import { chooseThreads, importOrt, OrtEngine } from "/runtime/ort-engine.js";
import type { Engine, EngineContext } from "../compute/engine";

export { API as api } from "../compute/engine";

export async function create(context: EngineContext): Promise<Engine> {
  const choice = await chooseThreads(context.options["threads"]);
  const ort = await importOrt(context.runtimeUrl, "wasm", choice.threads);
  return OrtEngine.create(ort, context, {
    options: () => ({ executionProviders: ["wasm"] }),
    needsStaticShapes: false,
    info: {
      device_type: "cpu",
      is_software: false,
      threads: choice.threads,
      details: { bundle: "wasm", threads: choice },
    },
  });
}
