// SPDX-License-Identifier: Apache-2.0
import type { KernelHeader } from "../../../accelerate-browser/page/src/generated/messages";
import type { HostTensor } from "../../../accelerate-browser/page/src/wire/tensor";
import type { Plan, Slot } from "./format";
import { checked, type Kernels } from "./kernels";
import { Stopwatch } from "./stopwatch";
import { fromDevice, toDevice } from "./values";
import { filled } from "./weights";

const COPY = GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;

/** An output that stayed on the device, in a buffer of its own. */
export interface Kept {
  slot: Slot;
  buffer: GPUBuffer;
}

interface Step {
  pipeline: GPUComputePipeline;
  group: GPUBindGroup;
  grid: readonly [number, number, number];
}

export interface Outcome {
  outputs: Map<string, HostTensor>;
  kept: Map<string, Kept>;
  profile?: KernelHeader[];
}

/** A plan on a device: its memory and bind groups, made once, and the dispatches to replay. */
export class Replay {
  readonly plan: Plan;
  readonly #device: GPUDevice;
  readonly #buffers: readonly GPUBuffer[];
  readonly #own: readonly GPUBuffer[];
  readonly #steps: readonly Step[];
  readonly #readback: GPUBuffer;
  readonly #stopwatch: Stopwatch | null;
  #hasRun = false;

  private constructor(
    device: GPUDevice,
    plan: Plan,
    buffers: readonly GPUBuffer[],
    own: GPUBuffer[],
    steps: readonly Step[],
    stopwatch: Stopwatch | null,
  ) {
    this.plan = plan;
    this.#device = device;
    this.#buffers = buffers;
    this.#steps = steps;
    this.#stopwatch = stopwatch;
    const outputs = plan.outputs.reduce((sum, { place }) => sum + place.size, 0);
    this.#readback = readable(device, outputs + (stopwatch?.bytes ?? 0));
    this.#own = [...own, this.#readback];
  }

  /** Make a plan ready to run, with its weights, which stay the caller's. */
  static async create(
    device: GPUDevice,
    plan: Plan,
    kernels: Kernels,
    weights: readonly GPUBuffer[],
    isTimed: boolean,
  ): Promise<Replay> {
    const pipelines = await Promise.all(plan.pipelines.map((one) => kernels.pipeline(one)));
    return checked(device, `plan ${plan.name}`, () => {
      const params = filled(device, Math.max(16, plan.params_bytes), head(plan), GPUBufferUsage.UNIFORM);
      const own = [params];
      let shared = 0;
      const buffers = plan.buffers.map(({ role, size, offset }) => {
        const weight = role === "weights" ? weights[shared++] : undefined;
        if (weight !== undefined) return weight;
        const buffer =
          role === "constants"
            ? filled(device, size, plan.data.subarray(offset, offset + size))
            : device.createBuffer({ size, usage: GPUBufferUsage.STORAGE | COPY });
        own.push(buffer);
        return buffer;
      });
      const steps = plan.dispatches.map((dispatch) => {
        const [offset, size] = dispatch.params;
        const resources = dispatch.bindings.map((place) => ({ ...place, buffer: at(buffers, place.buffer) }));
        const entries = [{ buffer: params, offset, size }, ...resources];
        const group = device.createBindGroup({
          layout: kernels.layout(at(plan.pipelines, dispatch.pipeline).bindings),
          entries: entries.map((resource, binding) => ({ binding, resource })),
        });
        return { pipeline: at(pipelines, dispatch.pipeline), group, grid: dispatch.grid };
      });
      const stopwatch = isTimed ? new Stopwatch(device, steps.length) : null;
      return new Replay(device, plan, buffers, own, steps, stopwatch);
    });
  }

  /** Run once. Inputs are as the plan declares them; outputs named in `keep` stay on the device. */
  async run(inputs: ReadonlyMap<string, HostTensor | Kept>, keep: ReadonlySet<string>): Promise<Outcome> {
    const kept = new Map<string, Kept>();
    const read = this.plan.outputs.filter(({ name }) => !keep.has(name));
    const submit = () => {
      this.#submit(inputs, keep, kept);
    };
    // What a device refuses it refuses the first time.
    if (this.#hasRun) submit();
    else await checked(this.#device, `plan ${this.plan.name}`, submit);
    this.#hasRun = true;
    // Mapped even where nothing is read: that is how one waits for the end of the work.
    await this.#readback.mapAsync(GPUMapMode.READ);
    try {
      const bytes = new Uint8Array(this.#readback.getMappedRange());
      const outputs = new Map<string, HostTensor>();
      let offset = 0;
      for (const { name, dtype, shape, stored, place } of read) {
        const data = fromDevice(bytes.slice(offset, offset + place.size), stored, dtype);
        outputs.set(name, { dtype, shape, data });
        offset += place.size;
      }
      const times = this.#stopwatch?.read(bytes.slice(offset, offset + this.#stopwatch.bytes));
      return { outputs, kept, ...(times === undefined ? {} : { profile: this.#profile(times) }) };
    } finally {
      this.#readback.unmap();
    }
  }

  /** Free all of it but the weights. */
  destroy(): void {
    for (const buffer of this.#own) buffer.destroy();
    this.#stopwatch?.destroy();
  }

  #submit(
    inputs: ReadonlyMap<string, HostTensor | Kept>,
    keep: ReadonlySet<string>,
    kept: Map<string, Kept>,
  ): void {
    const encoder = this.#device.createCommandEncoder();
    for (const { name, stored, place } of this.plan.inputs) {
      const input = inputs.get(name);
      if (input === undefined) continue;
      const buffer = at(this.#buffers, place.buffer);
      if ("data" in input)
        this.#device.queue.writeBuffer(buffer, place.offset, toDevice(input, stored, name));
      else encoder.copyBufferToBuffer(input.buffer, 0, buffer, place.offset, place.size);
    }
    if (this.#stopwatch === null) {
      const pass = encoder.beginComputePass();
      for (const step of this.#steps) replay(pass, step);
      pass.end();
    } else {
      for (const [i, step] of this.#steps.entries()) {
        const pass = encoder.beginComputePass({ timestampWrites: this.#stopwatch.writes(i) });
        replay(pass, step);
        pass.end();
      }
    }
    let offset = 0;
    for (const slot of this.plan.outputs) {
      const { buffer, offset: from, size } = slot.place;
      if (keep.has(slot.name)) {
        const copy = this.#device.createBuffer({ size, usage: COPY });
        encoder.copyBufferToBuffer(at(this.#buffers, buffer), from, copy, 0, size);
        kept.set(slot.name, { slot, buffer: copy });
      } else {
        encoder.copyBufferToBuffer(at(this.#buffers, buffer), from, this.#readback, offset, size);
        offset += size;
      }
    }
    if (this.#stopwatch !== null) this.#stopwatch.resolve(encoder, this.#readback, offset);
    else if (offset === 0) encoder.clearBuffer(this.#readback, 0, 4);
    this.#device.queue.submit([encoder.finish()]);
  }

  #profile(times: readonly number[]): KernelHeader[] {
    return this.plan.dispatches.map(({ label, pipeline, flops }, i) => ({
      label,
      kernel: at(this.plan.pipelines, pipeline).name,
      ms: times[i] ?? 0,
      flops,
    }));
  }
}

/** Copy a kept tensor to the CPU. */
export async function fetchKept(device: GPUDevice, { slot, buffer }: Kept): Promise<HostTensor> {
  const readback = readable(device, slot.place.size);
  try {
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, 0, readback, 0, slot.place.size);
    device.queue.submit([encoder.finish()]);
    await readback.mapAsync(GPUMapMode.READ);
    const data = new Uint8Array(readback.getMappedRange()).slice(0, slot.place.size);
    return { dtype: slot.dtype, shape: slot.shape, data: fromDevice(data, slot.stored, slot.dtype) };
  } finally {
    readback.destroy();
  }
}

function replay(pass: GPUComputePassEncoder, { pipeline, group, grid }: Step): void {
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, group);
  pass.dispatchWorkgroups(...grid);
}

function readable(device: GPUDevice, size: number): GPUBuffer {
  return device.createBuffer({
    size: Math.max(4, size),
    usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ,
  });
}

function head({ data, params_bytes }: Plan): Uint8Array {
  return data.subarray(0, params_bytes);
}

function at<T>(items: readonly T[], index: number): T {
  const item = items[index];
  if (item === undefined) throw new RangeError(`the plan names number ${index} of ${items.length}`);
  return item;
}
