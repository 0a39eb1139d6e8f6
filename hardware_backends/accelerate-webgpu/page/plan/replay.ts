// SPDX-License-Identifier: Apache-2.0
import type { Outcome, Stayed } from "../../../accelerate-browser/page/src/compute/model-engine";
import type { HostTensor } from "../../../accelerate-browser/page/src/wire/tensor";
import type { Plan, Slot } from "./format";
import { checked, type Kernels } from "./kernels";
import { Stopwatch } from "./stopwatch";
import { fromDevice, toDevice } from "./values";
import { filled } from "./weights";

const COPY = GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;

/** An output in a buffer of its own. */
export interface Kept {
  slot: Slot;
  buffer: GPUBuffer;
}

type Feeds = ReadonlyMap<string, HostTensor | Stayed<Kept>>;

interface Step {
  pipeline: GPUComputePipeline;
  group: GPUBindGroup;
  grid: readonly [number, number, number];
}

/** A plan on a device: its memory and bind groups, made once, and the dispatches to replay. */
export class Replay {
  #hasRun = false;

  private constructor(
    private readonly device: GPUDevice,
    private readonly plan: Plan,
    private readonly buffers: readonly GPUBuffer[],
    private readonly own: readonly GPUBuffer[],
    private readonly steps: readonly Step[],
    private readonly readback: GPUBuffer,
    private readonly stopwatch: Stopwatch | null,
  ) {}

  /** Make a plan ready to run, with its weights, which stay the caller's. */
  static create(
    device: GPUDevice,
    plan: Plan,
    kernels: Kernels,
    pipelines: readonly GPUComputePipeline[],
    weights: readonly GPUBuffer[],
    isTimed: boolean,
  ): Promise<Replay> {
    return checked(device, `plan ${plan.name}`, () => {
      const params = paramsOf(device, plan);
      let weightsSeen = 0;
      const buffers = plan.buffers.map(({ role, size, offset }) => {
        if (role === "weights") return at(weights, weightsSeen++);
        if (role === "constants") return filled(device, size, plan.data.subarray(offset, offset + size));
        return device.createBuffer({ size, usage: GPUBufferUsage.STORAGE | COPY });
      });
      const steps = plan.dispatches.map(({ pipeline, params: [offset, size], bindings, grid }) => {
        const places = bindings.map((place) => ({ ...place, buffer: at(buffers, place.buffer) }));
        const operands = [{ buffer: params, offset, size }, ...places];
        const group = kernels.group(at(plan.pipelines, pipeline).bindings, operands);
        return { pipeline: at(pipelines, pipeline), group, grid };
      });
      const canTime = isTimed && device.features.has("timestamp-query");
      const stopwatch = canTime ? new Stopwatch(device, steps.length) : null;
      const outputBytes = plan.outputs.reduce((sum, { place }) => sum + place.size, 0);
      const readback = readable(device, outputBytes + (stopwatch?.bytes ?? 0));
      const own = [params, readback, ...buffers.filter((one) => !weights.includes(one))];
      return new Replay(device, plan, buffers, own, steps, readback, stopwatch);
    });
  }

  /** Run once. Inputs are as the plan declares them; outputs named in `keep` stay on the device. */
  async run(feeds: Feeds, keep: ReadonlySet<string>): Promise<Outcome<Kept>> {
    const submit = () => this.#submit(feeds, keep);
    // What a device refuses it refuses the first time.
    const kept = this.#hasRun ? submit() : await checked(this.device, `plan ${this.plan.name}`, submit);
    this.#hasRun = true;
    // Mapped even where nothing is read: that is how one waits for the end of the work.
    await this.readback.mapAsync(GPUMapMode.READ);
    try {
      const bytes = new Uint8Array(this.readback.getMappedRange());
      const outputs = new Map<string, HostTensor>();
      let offset = 0;
      for (const { name, dtype, shape, stored, place } of this.plan.outputs) {
        if (keep.has(name)) continue;
        const data = fromDevice(bytes.slice(offset, offset + place.size), stored, dtype);
        outputs.set(name, { dtype, shape, data });
        offset += place.size;
      }
      if (this.stopwatch === null) return { outputs, kept };
      const times = this.stopwatch.read(bytes.slice(offset, offset + this.stopwatch.bytes));
      const profile = this.plan.dispatches.map(({ label, pipeline, flops }, i) => {
        return { label, kernel: at(this.plan.pipelines, pipeline).name, ms: at(times, i), flops };
      });
      return { outputs, kept, profile };
    } finally {
      this.readback.unmap();
    }
  }

  /** Free all of it but the weights. */
  destroy(): void {
    for (const buffer of this.own) buffer.destroy();
    this.stopwatch?.destroy();
  }

  #submit(feeds: Feeds, keep: ReadonlySet<string>): Map<string, Stayed<Kept>> {
    const encoder = this.device.createCommandEncoder();
    for (const { name, stored, place } of this.plan.inputs) {
      const feed = feeds.get(name);
      const buffer = at(this.buffers, place.buffer);
      if (feed === undefined) continue;
      if ("data" in feed) this.device.queue.writeBuffer(buffer, place.offset, toDevice(feed, stored, name));
      else encoder.copyBufferToBuffer(feed.tensor.buffer, 0, buffer, place.offset, place.size);
    }
    const shared = this.stopwatch === null ? encoder.beginComputePass() : null;
    for (const [i, { pipeline, group, grid }] of this.steps.entries()) {
      const pass = shared ?? encoder.beginComputePass({ timestampWrites: this.stopwatch?.writes(i) });
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(...grid);
      if (shared === null) pass.end();
    }
    shared?.end();
    const kept = new Map<string, Stayed<Kept>>();
    let offset = 0;
    for (const slot of this.plan.outputs) {
      const { buffer, offset: from, size } = slot.place;
      if (keep.has(slot.name)) {
        const copy = this.device.createBuffer({ size, usage: COPY });
        encoder.copyBufferToBuffer(at(this.buffers, buffer), from, copy, 0, size);
        kept.set(slot.name, { dtype: slot.dtype, shape: slot.shape, tensor: { slot, buffer: copy } });
      } else {
        encoder.copyBufferToBuffer(at(this.buffers, buffer), from, this.readback, offset, size);
        offset += size;
      }
    }
    this.stopwatch?.resolve(encoder, this.readback, offset);
    if (offset === 0 && this.stopwatch === null) encoder.clearBuffer(this.readback, 0, 4);
    this.device.queue.submit([encoder.finish()]);
    return kept;
  }
}

/** Copy a kept tensor to the CPU. */
export async function fetchKept(device: GPUDevice, { slot, buffer }: Kept): Promise<HostTensor> {
  const { size } = slot.place;
  const readback = readable(device, size);
  try {
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, 0, readback, 0, size);
    device.queue.submit([encoder.finish()]);
    await readback.mapAsync(GPUMapMode.READ);
    const data = new Uint8Array(readback.getMappedRange()).slice(0, size);
    return { dtype: slot.dtype, shape: slot.shape, data: fromDevice(data, slot.stored, slot.dtype) };
  } finally {
    readback.destroy();
  }
}

/** Return the params of all steps of a plan as a buffer. */
export function paramsOf(device: GPUDevice, plan: Plan): GPUBuffer {
  const bytes = plan.data.subarray(0, plan.params_bytes);
  return filled(device, Math.max(16, plan.params_bytes), bytes, GPUBufferUsage.UNIFORM);
}

function readable(device: GPUDevice, size: number): GPUBuffer {
  const usage = GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ;
  return device.createBuffer({ size: Math.max(4, size), usage });
}

/** Return an item that a plan names by its number. */
export function at<T>(items: readonly T[], index: number): T {
  const item = items[index];
  if (item === undefined) throw new RangeError(`the plan names number ${index} of ${items.length}`);
  return item;
}
