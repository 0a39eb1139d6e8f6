// SPDX-License-Identifier: Apache-2.0
// The WebGPU engine: onnxruntime-web on the page's own GPUDevice.
import {
  hasJspi,
  importOrt,
  OrtEngine,
  PageFailure,
} from "/runtime/ort-engine.js";
import type {
  Engine,
  EngineContext,
} from "../../accelerate-browser/page/src/compute/engine";

export { API as api } from "../../accelerate-browser/page/src/compute/engine";

export async function create(context: EngineContext): Promise<Engine> {
  const { adapter } = context;
  let { device } = context;
  if (device === null || adapter === null)
    throw new PageFailure("unavailable", "the page opened no GPU device");
  const bundle = hasJspi() ? "jspi" : "webgpu";
  const folder = hasJspi() ? context.runtimeUrl : context.baseUrl;
  const ort = await importOrt(folder, bundle, 1);
  return OrtEngine.create(ort, context, {
    // Outputs stay on the GPU: what is kept is shared without a copy, the rest is read back.
    options: () => ({
      executionProviders: [{ name: "webgpu", device: device ?? undefined }],
      preferredOutputLocation: "gpu-buffer",
    }),
    needsStaticShapes: false,
    watchFirstRun: expectDispatches,
    deviceLost: (next) => {
      device = next;
    },
    info: {
      device_type:
        adapter.isSoftware === true
          ? "cpu"
          : adapter.isSoftware === false
            ? "gpu"
            : null,
      is_software: adapter.isSoftware,
      adapter: adapter.info,
      features: adapter.features,
      limits: adapter.limits,
      details: { bundle },
    },
  });
}

/**
 * Do a run that has to use the GPU. ONNX Runtime gives nodes to the CPU without a word: a few are
 * usual (shapes, indices), all of them would be another backend.
 */
async function expectDispatches<T>(run: () => Promise<T>): Promise<T> {
  // eslint-disable-next-line @typescript-eslint/unbound-method -- called with its receiver below
  const dispatchWorkgroups = GPUComputePassEncoder.prototype.dispatchWorkgroups;
  let dispatches = 0;
  GPUComputePassEncoder.prototype.dispatchWorkgroups = function (
    this: GPUComputePassEncoder,
    ...args
  ) {
    dispatches += 1;
    dispatchWorkgroups.apply(this, args);
  };
  try {
    const result = await run();
    if (dispatches > 0) return result;
  } finally {
    GPUComputePassEncoder.prototype.dispatchWorkgroups = dispatchWorkgroups;
  }
  throw new PageFailure(
    "unsupported",
    "WebGPU takes no node of this model here: all of it ran on the CPU",
  );
}
