// SPDX-License-Identifier: Apache-2.0
import { describe, PageFailure } from "../../../accelerate-browser/page/src/wire/errors";
import type { PlanPipeline } from "./format";

/** What is compiled on a device, for all plans of the page. */
export class Kernels {
  readonly #device: GPUDevice;
  readonly #modules = new Map<string, GPUShaderModule>();
  readonly #layouts = new Map<string, GPUBindGroupLayout>();
  readonly #pipelines = new Map<string, Promise<GPUComputePipeline>>();
  /** How many pipelines were compiled so far. */
  compiled = 0;

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** Return the layout of a list of bindings. It is explicit, so that plans can share pipelines. */
  layout(bindings: PlanPipeline["bindings"]): GPUBindGroupLayout {
    const key = bindings.join();
    let layout = this.#layouts.get(key);
    if (layout === undefined) {
      const types: GPUBufferBindingType[] = bindings.map((access) =>
        access === "read" ? "read-only-storage" : "storage",
      );
      const entries = ["uniform" as const, ...types].map((type, binding) => ({
        binding,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type },
      }));
      layout = this.#device.createBindGroupLayout({ entries });
      this.#layouts.set(key, layout);
    }
    return layout;
  }

  /** Return what binds a step's params and operands, in this order. */
  group(bindings: PlanPipeline["bindings"], resources: readonly GPUBufferBinding[]): GPUBindGroup {
    const entries = resources.map((resource, binding) => ({ binding, resource }));
    return this.#device.createBindGroup({ layout: this.layout(bindings), entries });
  }

  /** Return a pipeline, compiled when no plan had it before. */
  pipeline(wanted: PlanPipeline): Promise<GPUComputePipeline> {
    const { source, constants, bindings } = wanted;
    const key = JSON.stringify([source, Object.entries(constants).sort(), bindings]);
    let pipeline = this.#pipelines.get(key);
    if (pipeline === undefined) {
      pipeline = this.#compile(wanted);
      this.#pipelines.set(key, pipeline);
      pipeline.catch(() => this.#pipelines.delete(key));
    }
    return pipeline;
  }

  async #compile({ name, source, constants, bindings }: PlanPipeline): Promise<GPUComputePipeline> {
    this.compiled += 1;
    let module = this.#modules.get(source);
    if (module === undefined) {
      module = this.#device.createShaderModule({ code: source, label: name });
      this.#modules.set(source, module);
    }
    const layout = this.#device.createPipelineLayout({ bindGroupLayouts: [this.layout(bindings)] });
    try {
      return await this.#device.createComputePipelineAsync({
        label: name,
        layout,
        compute: { module, entryPoint: "main", constants },
      });
    } catch (error) {
      const { messages } = await module.getCompilationInfo();
      const [first] = messages.filter(({ type }) => type === "error");
      const where = first === undefined ? "" : ` (line ${first.lineNum}: ${first.message})`;
      throw new PageFailure("internal", `kernel ${name} does not compile: ${describe(error)}${where}`, {
        cause: error,
      });
    }
  }
}

/** Do synchronous work on a device, and throw what the device says against it. */
export async function checked<T>(device: GPUDevice, what: string, work: () => T): Promise<T> {
  device.pushErrorScope("validation");
  device.pushErrorScope("out-of-memory");
  let popped: [Promise<GPUError | null>, Promise<GPUError | null>];
  let result: T;
  try {
    result = work();
  } finally {
    popped = [device.popErrorScope(), device.popErrorScope()];
  }
  const [memory, invalid] = await Promise.all(popped);
  if (memory !== null) throw new PageFailure("out_of_memory", `${what}: ${memory.message}`);
  if (invalid !== null) throw new PageFailure("internal", `${what}: ${invalid.message}`);
  return result;
}
