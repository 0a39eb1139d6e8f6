// SPDX-License-Identifier: Apache-2.0
// The WebGPU engine: onnxruntime-web on the page's own GPUDevice.
import { hasJspi, importOrt, OrtEngine, PageFailure } from "/runtime/ort-engine.js";
import type { Engine, EngineContext } from "../../accelerate-browser/page/src/compute/engine";

export { API as api } from "../../accelerate-browser/page/src/compute/engine";

export async function create(context: EngineContext): Promise<Engine> {
  const { adapter } = context;
  let { device } = context;
  if (device === null || adapter === null) throw new PageFailure("unavailable", "the page opened no GPU device");
  const bundle = hasJspi() ? "jspi" : "webgpu";
  const folder = hasJspi() ? context.runtimeUrl : context.baseUrl;
  const ort = await importOrt(folder, bundle, 1);
  return OrtEngine.create(ort, context, {
    options: () => ({ executionProviders: [{ name: "webgpu", device: device ?? undefined }] }),
    needsStaticShapes: false,
    deviceLost: (next) => {
      device = next;
    },
    info: {
      device_type: adapter.isSoftware === true ? "cpu" : adapter.isSoftware === false ? "gpu" : null,
      is_software: adapter.isSoftware,
      adapter: adapter.info,
      features: adapter.features,
      limits: adapter.limits,
      details: { bundle },
    },
  });
}
