// SPDX-License-Identifier: Apache-2.0
import type {
  Engine,
  EngineContext,
  KeptTensor,
  RunResult,
} from "../../../accelerate-browser/page/src/compute/engine";
import { checkInputs, zeros } from "../../../accelerate-browser/page/src/compute/inputs";
import { Mutex } from "../../../accelerate-browser/page/src/compute/mutex";
import type {
  AssetHeader,
  Load,
  Loaded,
  Ready,
} from "../../../accelerate-browser/page/src/generated/messages";
import { PageFailure } from "../../../accelerate-browser/page/src/wire/errors";
import type { HostTensor } from "../../../accelerate-browser/page/src/wire/tensor";
import { checkDevice, readPlan, type Plan } from "./format";
import { Kernels } from "./kernels";
import { fetchKept, Replay, type Kept } from "./replay";
import { Weights } from "./weights";

interface Model {
  request: Load;
  replay: Replay;
  report: Omit<Loaded, "type" | "id">;
}

/** Replays plans on the page's GPUDevice, one run at a time. */
export class PlanEngine implements Engine {
  readonly info: Omit<Ready, "type">;
  readonly #context: EngineContext;
  readonly #models = new Map<string, Promise<Model>>();
  readonly #kept = new Map<string, Kept>();
  #device: GPUDevice;
  #kernels: Kernels;
  #weights: Weights;
  // Plans of one model share weights, and runs of one plan its memory.
  #mutex = new Mutex();
  #refs = 0;

  constructor(context: EngineContext) {
    const { adapter, device } = context;
    const version = context.options["version"];
    if (device === null || adapter === null)
      throw new PageFailure("unavailable", "the page opened no GPU device");
    this.#context = context;
    this.#device = device;
    this.#kernels = new Kernels(device);
    this.#weights = new Weights(device);
    this.info = {
      engine_version: typeof version === "string" ? `plan ${version}` : "plan",
      device_type: adapter.isSoftware === true ? "cpu" : adapter.isSoftware === false ? "gpu" : null,
      is_software: adapter.isSoftware,
      adapter: adapter.info,
      features: adapter.features,
      limits: adapter.limits,
    };
  }

  async load(request: Load): Promise<Omit<Loaded, "type" | "id">> {
    const model = this.#load(request);
    this.#models.set(request.model, model);
    try {
      return (await model).report;
    } catch (error) {
      if (this.#models.get(request.model) === model) this.#models.delete(request.model);
      throw error;
    }
  }

  async run(
    name: string,
    inputs: Map<string, HostTensor | string>,
    keep: ReadonlySet<string>,
    signal: AbortSignal,
  ): Promise<RunResult> {
    const { replay } = await this.#model(name);
    return this.#mutex.run(() => {
      signal.throwIfAborted();
      return this.#run(replay, inputs, keep);
    });
  }

  async fetch(ref: string): Promise<HostTensor> {
    return this.#mutex.run(() => fetchKept(this.#device, this.#ref(ref)));
  }

  async release(ref: string): Promise<void> {
    this.#ref(ref).buffer.destroy();
    this.#kept.delete(ref);
    return Promise.resolve();
  }

  async unload(name: string): Promise<void> {
    const { replay, request } = await this.#model(name);
    this.#models.delete(name);
    await this.#mutex.run(async () => {
      replay.destroy();
      await this.#weights.release(weightsKey(request));
    });
  }

  async deviceLost(device: GPUDevice): Promise<void> {
    // What is stuck on the old device would hold the old mutex for ever.
    this.#mutex = new Mutex();
    this.#kept.clear();
    this.#device = device;
    this.#kernels = new Kernels(device);
    this.#weights = new Weights(device);
    const old = await Promise.allSettled(this.#models.values());
    const loaded = old.filter((one) => one.status === "fulfilled");
    await Promise.all(loaded.map(({ value }) => this.load({ ...value.request, precompile: false })));
  }

  async dispose(): Promise<void> {
    for (const { buffer } of this.#kept.values()) buffer.destroy();
    this.#kept.clear();
    await Promise.allSettled([...this.#models.keys()].map((name) => this.unload(name)));
  }

  async #load(request: Load): Promise<Model> {
    const [file, weights] = request.assets;
    if (request.format !== "plan" || file === undefined)
      throw new PageFailure(
        "unsupported",
        `this engine replays plans, and no models of format ${request.format}`,
      );
    const startedAt = performance.now();
    const asset = await this.#context.asset(file);
    const plan = readPlan(asset.bytes);
    checkDevice(plan, this.#device);
    checkWeights(plan, weights);
    let isCached = asset.isCached;
    const buffers = await this.#weights.acquire(
      weightsKey(request),
      plan.buffers.filter(({ role }) => role === "weights"),
      async () => {
        if (weights === undefined) return new Uint8Array();
        const found = await this.#context.asset(weights);
        isCached &&= found.isCached;
        this.#context.progress("handing the weights to the GPU");
        return found.bytes;
      },
    );
    const fetchedAt = performance.now();
    try {
      const before = this.#kernels.compiled;
      this.#context.progress("compiling the kernels");
      const isTimed = request.profile === true;
      const replay = await Replay.create(this.#device, plan, this.#kernels, buffers, isTimed);
      const report: Omit<Loaded, "type" | "id"> = {
        model: request.model,
        fetch_ms: fetchedAt - startedAt,
        compile_ms: performance.now() - fetchedAt,
        is_cached: isCached,
        details: {
          engine: "plan",
          plan: file.sha256,
          dispatches: plan.dispatches.length,
          pipelines: plan.pipelines.length,
          pipelines_compiled: this.#kernels.compiled - before,
          weights_bytes: plan.weights_bytes,
          arena_bytes: sum(plan.buffers.filter(({ role }) => role === "arena").map(({ size }) => size)),
        },
      };
      if (request.precompile === true) report.first_run_ms = await this.#firstRun(replay);
      return { request, replay, report };
    } catch (error) {
      await this.#weights.release(weightsKey(request));
      throw error;
    }
  }

  // Some browsers compile a kernel when it is first dispatched.
  async #firstRun(replay: Replay): Promise<number> {
    this.#context.progress("running the model for the first time");
    return this.#mutex.run(
      async () => (await this.#run(replay, zeros(replay.plan.inputs, {}), new Set())).inPageMs,
    );
  }

  async #run(
    replay: Replay,
    inputs: ReadonlyMap<string, HostTensor | string>,
    keep: ReadonlySet<string>,
  ): Promise<RunResult> {
    const startedAt = performance.now();
    const { plan } = replay;
    const names = plan.outputs.map(({ name }) => name);
    for (const name of keep) {
      if (!names.includes(name))
        throw new PageFailure(
          "model",
          `the model has no output ${name}; its outputs are ${names.join(", ")}`,
        );
    }
    const feeds = new Map<string, HostTensor | Kept>();
    const shapes = new Map<string, { dtype: string; shape: readonly number[] }>();
    for (const [name, input] of inputs) {
      const feed = typeof input === "string" ? this.#ref(input) : input;
      feeds.set(name, feed);
      shapes.set(name, "data" in feed ? feed : feed.slot);
    }
    checkInputs(shapes, plan.inputs);
    const { kept, ...rest } = await replay.run(feeds, keep);
    const refs = new Map([...kept].map(([name, tensor]) => [name, this.#keep(tensor)]));
    return { ...rest, kept: refs, inPageMs: performance.now() - startedAt };
  }

  #keep(kept: Kept): KeptTensor {
    this.#refs += 1;
    const ref = `${this.#context.generation}-plan-${this.#refs}`;
    this.#kept.set(ref, kept);
    return { ref, dtype: kept.slot.dtype, shape: kept.slot.shape };
  }

  #ref(ref: string): Kept {
    const kept = this.#kept.get(ref);
    if (kept === undefined) throw new PageFailure("model", `no tensor ${ref} is kept here (any more)`);
    return kept;
  }

  async #model(name: string): Promise<Model> {
    const model = this.#models.get(name);
    if (model === undefined) throw new PageFailure("model", `no model ${name} is loaded`);
    return model;
  }
}

function checkWeights(plan: Plan, weights: AssetHeader | undefined): void {
  if (plan.weights_bytes === 0) return;
  if (weights?.size_bytes === plan.weights_bytes && [null, weights.sha256].includes(plan.weights_sha256))
    return;
  throw new PageFailure("model", "the weights are not those the plan was compiled with");
}

function weightsKey({ assets }: Load): string {
  return assets[1]?.sha256 ?? "";
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0);
}
