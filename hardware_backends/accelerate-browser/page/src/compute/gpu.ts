// SPDX-License-Identifier: Apache-2.0
import { describe, PageFailure } from "../wire/errors";
import type { Adapter } from "./engine";
import probe from "./probe.wgsl";

const SOFTWARE = /swiftshader|llvmpipe|lavapipe|softpipe|basic render|\bwarp\b|\bcpu\b/i;
const INFO_FIELDS = ["vendor", "architecture", "device", "description"] as const;
const PROBE_VALUES = 256;

export interface Gpu {
  device: GPUDevice;
  adapter: Adapter;
}

/** Open the page's GPUDevice, with all features and maximum limits, and prove that it computes.
 * `onDevice` sees it before the proof. */
export async function openGpu(
  options: Readonly<Record<string, unknown>>,
  onDevice: (device: GPUDevice) => void,
): Promise<Gpu> {
  // Types promise it; browsers without WebGPU do not.
  const gpu = (navigator as { gpu?: GPU }).gpu;
  if (gpu === undefined)
    throw new PageFailure("unavailable", "This browser has no WebGPU (navigator.gpu is absent).");
  const request: GPURequestAdapterOptions = {};
  const preference = options["power_preference"];
  if (preference === "high-performance" || preference === "low-power") request.powerPreference = preference;
  const adapter = await gpu.requestAdapter(request);
  if (adapter === null) {
    throw new PageFailure(
      "unavailable",
      "This browser has WebGPU but found no adapter: no GPU, a blocked driver, or a flag that is missing.",
    );
  }
  const facts = describeAdapter(adapter);
  let device: GPUDevice;
  try {
    device = await adapter.requestDevice({
      requiredFeatures: facts.features as GPUFeatureName[],
      requiredLimits: facts.limits,
    });
  } catch (error) {
    throw new PageFailure("unavailable", `The adapter gave no device: ${describe(error)}`, { cause: error });
  }
  onDevice(device);
  try {
    await prove(device);
  } catch (error) {
    device.destroy();
    throw new PageFailure("unavailable", `The GPU device does not compute: ${describe(error)}`, {
      cause: error,
    });
  }
  return { device, adapter: facts };
}

function describeAdapter(adapter: GPUAdapter): Adapter {
  const info: Record<string, string> = {};
  for (const field of INFO_FIELDS) {
    if (adapter.info[field] !== "") info[field] = adapter.info[field];
  }
  // Attributes of interfaces sit on prototypes: Object.keys sees none, for-in sees all.
  const limits: Record<string, number> = {};
  for (const name in adapter.limits) {
    const value: unknown = adapter.limits[name as keyof GPUSupportedLimits];
    if (typeof value === "number") limits[name] = value;
  }
  return { info, features: [...adapter.features].sort(), limits, isSoftware: isSoftware(adapter, info) };
}

// Only a "yes" or a name is evidence; an adapter without a name stays unknown.
function isSoftware(adapter: GPUAdapter, info: Record<string, string>): boolean | null {
  const flags = adapter as { isFallbackAdapter?: boolean; info: { isFallbackAdapter?: boolean } };
  if (flags.info.isFallbackAdapter === true || flags.isFallbackAdapter === true) return true;
  const names = Object.values(info).join(" ");
  if (SOFTWARE.test(names)) return true;
  return names === "" ? null : false;
}

async function prove(device: GPUDevice): Promise<void> {
  const input = Float32Array.from({ length: PROBE_VALUES }, (_, i) => i % 17);
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
  const buffer = device.createBuffer({ size: input.byteLength, usage });
  const readback = device.createBuffer({
    size: input.byteLength,
    usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ,
  });
  try {
    device.queue.writeBuffer(buffer, 0, input);
    const module = device.createShaderModule({ code: probe });
    const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module } });
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(
      0,
      device.createBindGroup({
        layout: pipeline.getBindGroupLayout(0),
        entries: [{ binding: 0, resource: { buffer } }],
      }),
    );
    pass.dispatchWorkgroups(Math.ceil(PROBE_VALUES / 64));
    pass.end();
    encoder.copyBufferToBuffer(buffer, 0, readback, 0, input.byteLength);
    device.queue.submit([encoder.finish()]);
    await readback.mapAsync(GPUMapMode.READ);
    const output = new Float32Array(readback.getMappedRange());
    const wrong = output.findIndex((value, i) => value !== (i % 17) * 3 + i);
    if (wrong >= 0) throw new Error(`element ${wrong} of the probe is ${output[wrong] ?? "missing"}`);
  } finally {
    buffer.destroy();
    readback.destroy();
  }
}
