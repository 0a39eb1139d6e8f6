// SPDX-License-Identifier: Apache-2.0
import type { Plan, PlanPipeline } from "./format";
import type { Kernels } from "./kernels";
import { at, paramsOf } from "./replay";

// An offset that every device takes; no kernel needs larger buffers for doing nothing.
const STEP = 256;
const MOST_BINDINGS = 16;

/**
 * Have the driver compile all that a plan dispatches, while its weights are on their way.
 *
 * lavapipe compiles a kernel when it is dispatched, and anew for other values of the params its
 * branches depend on: so every step is dispatched with its params, and for no workgroup. Other
 * drivers have nothing to do then.
 */
export function compileAhead(
  device: GPUDevice,
  plan: Plan,
  kernels: Kernels,
  pipelines: readonly GPUComputePipeline[],
): void {
  const params = paramsOf(device, plan);
  const usage = GPUBufferUsage.STORAGE;
  const empty = () => device.createBuffer({ size: STEP * MOST_BINDINGS, usage });
  // A buffer is bound for reading or for writing, never for both.
  const buffers: Record<PlanPipeline["bindings"][number], GPUBuffer> = { read: empty(), read_write: empty() };
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  for (const {
    pipeline,
    params: [offset, size],
  } of plan.dispatches) {
    const { bindings } = at(plan.pipelines, pipeline);
    const storage = bindings.map((access, i) => {
      return { buffer: buffers[access], offset: i * STEP, size: STEP };
    });
    pass.setPipeline(at(pipelines, pipeline));
    pass.setBindGroup(0, kernels.group(bindings, [{ buffer: params, offset, size }, ...storage]));
    pass.dispatchWorkgroups(0);
  }
  pass.end();
  device.queue.submit([encoder.finish()]);
  for (const buffer of [params, ...Object.values(buffers)]) buffer.destroy();
}
