// SPDX-License-Identifier: Apache-2.0
// The WebGPU engine: onnxruntime-web on the page's own GPUDevice.
import { createPlaced, hasJspi, importOrt, operatorList, OrtEngine, PageFailure, type OrtModule, type Placed, type SessionOptions } from "/runtime/ort-engine.js";
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
    createSession: (model, options) => createOnGpu(ort, model, options),
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

// A few nodes on the CPU are usual (shapes, indices) and reported; all of them would be another backend.
async function createOnGpu(ort: OrtModule, model: Uint8Array, options: SessionOptions): Promise<Placed> {
  const placed = await createPlaced(ort, model, options);
  if ((placed.placement.providers["WebGpuExecutionProvider"] ?? 0) > 0) return placed;
  await placed.session.release();
  const operators = operatorList(placed.placement.cpuOperators);
  throw new PageFailure("unsupported", `WebGPU takes no node of this model here; on the CPU would run: ${operators || "all"}`);
}
