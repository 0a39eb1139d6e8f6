// SPDX-License-Identifier: Apache-2.0
// The WebGPU engine: onnxruntime-web on the page's own GPUDevice.
import {
  hasJspi,
  importOrt,
  OrtEngine,
  PageFailure,
  type Declared,
  type Placement,
} from "/runtime/ort-engine.js";
import type { Engine, EngineContext } from "../../accelerate-browser/page/src/compute/engine";

export { API as api } from "../../accelerate-browser/page/src/compute/engine";

/** Types of which onnxruntime-web hands out tensors in GPU buffers. */
const ON_GPU: ReadonlySet<string> = new Set([
  "float32",
  "float16",
  "int32",
  "int64",
  "uint32",
  "uint8",
  "bool",
]);

export async function create(context: EngineContext): Promise<Engine> {
  const { adapter } = context;
  let { device } = context;
  if (device === null || adapter === null)
    throw new PageFailure("unavailable", "the page opened no GPU device");
  const bundle = hasJspi() ? "jspi" : "webgpu";
  const folder = hasJspi() ? context.runtimeUrl : context.baseUrl;
  const ort = await importOrt(folder, bundle, 1);
  return OrtEngine.create(ort, context, {
    options: (outputs) => ({
      executionProviders: [{ name: "webgpu", device: device ?? undefined }],
      preferredOutputLocation: locations(outputs),
    }),
    needsStaticShapes: false,
    watchFirstRun: expectDispatches,
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

// Outputs stay on the GPU: what is kept is shared without a copy, the rest is read back.
function locations(outputs: readonly Declared[]): Record<string, "gpu-buffer" | "cpu"> {
  return Object.fromEntries(
    outputs.map(({ name, dtype }) => [name, ON_GPU.has(dtype) ? "gpu-buffer" : "cpu"]),
  );
}

/**
 * Do a run that has to use the GPU. ONNX Runtime gives nodes to the CPU without a word: a few are
 * usual (shapes, indices), all of them would be another backend.
 */
async function expectDispatches<T>(run: () => Promise<T>, place: () => Promise<Placement>): Promise<T> {
  // eslint-disable-next-line @typescript-eslint/unbound-method -- called with its receiver below
  const dispatchWorkgroups = GPUComputePassEncoder.prototype.dispatchWorkgroups;
  let dispatches = 0;
  GPUComputePassEncoder.prototype.dispatchWorkgroups = function (this: GPUComputePassEncoder, ...args) {
    dispatches += 1;
    dispatchWorkgroups.apply(this, args);
  };
  try {
    const result = await run();
    if (dispatches > 0) return result;
    // Copies and empty tensors need no dispatch: then only the placement tells.
    const { providers } = await place();
    if ((providers["WebGpuExecutionProvider"] ?? 0) > 0) return result;
  } finally {
    GPUComputePassEncoder.prototype.dispatchWorkgroups = dispatchWorkgroups;
  }
  throw new PageFailure("unsupported", "WebGPU takes no node of this model here: all of it runs on the CPU");
}
