// SPDX-License-Identifier: Apache-2.0
import type { EngineContext } from "../../../accelerate-browser/page/src/compute/engine";
import { ModelEngine } from "../../../accelerate-browser/page/src/compute/model-engine";
import type {
  LoadedModel,
  LoadReport,
  Outcome,
  Stayed,
} from "../../../accelerate-browser/page/src/compute/model-engine";
import type { AssetHeader, Load, Ready } from "../../../accelerate-browser/page/src/generated/messages";
import { PageFailure } from "../../../accelerate-browser/page/src/wire/errors";
import type { HostTensor } from "../../../accelerate-browser/page/src/wire/tensor";
import { compileAhead } from "./ahead";
import { checkDevice, readPlan, type Plan } from "./format";
import { checked, Kernels } from "./kernels";
import { fetchKept, Replay, type Kept } from "./replay";
import { Weights, type Lease } from "./weights";

interface Model extends LoadedModel {
  replay: Replay;
  weights: Lease;
}

/** Replays plans on the page's GPUDevice. Plans share kernels and weights. */
export class PlanEngine extends ModelEngine<Model, Kept> {
  readonly info: Omit<Ready, "type">;
  #device: GPUDevice;
  #kernels: Kernels;
  #weights: Weights;

  constructor(context: EngineContext) {
    super(context, "plan");
    const { adapter, device } = context;
    const version = context.options["version"];
    if (device === null || adapter === null)
      throw new PageFailure("unavailable", "the page opened no GPU device");
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

  protected async open(request: Load): Promise<Model> {
    const [file, weightsFile] = request.assets;
    if (request.format !== "plan" || file === undefined)
      throw new PageFailure("unsupported", `plans are replayed here, no models of ${request.format}`);
    const [device, kernels] = [this.#device, this.#kernels];
    const startedAt = performance.now();
    const asset = await this.context.asset(file);
    const plan = readPlan(asset.bytes);
    checkDevice(plan, device);
    checkWeights(plan, weightsFile);
    const compiledBefore = kernels.compiled;
    // Compiled while the weights are on their way.
    const pipelines = this.#compiled(plan);
    pipelines.catch(() => undefined);
    let isCached = asset.isCached;
    const parts = plan.buffers.filter(({ role }) => role === "weights");
    const weights = await this.#weights.acquire(weightsFile?.sha256 ?? "", parts, async () => {
      if (weightsFile === undefined) return new Uint8Array();
      const found = await this.context.asset(weightsFile);
      isCached &&= found.isCached;
      this.context.progress("handing the weights to the GPU");
      return found.bytes;
    });
    let replay: Replay | null = null;
    try {
      const fetchedAt = performance.now();
      this.context.progress("compiling the kernels");
      const isTimed = request.profile === true;
      replay = await Replay.create(device, plan, kernels, await pipelines, weights.buffers, isTimed);
      const report: LoadReport = {
        model: request.model,
        fetch_ms: fetchedAt - startedAt,
        compile_ms: performance.now() - fetchedAt,
        is_cached: isCached,
        details: {
          engine: "plan",
          plan: file.sha256,
          dispatches: plan.dispatches.length,
          pipelines: plan.pipelines.length,
          pipelines_compiled: kernels.compiled - compiledBefore,
          weights_bytes: plan.weights_bytes,
          arena_bytes: plan.buffers.reduce((sum, { role, size }) => sum + (role === "arena" ? size : 0), 0),
        },
      };
      const outputNames = plan.outputs.map(({ name }) => name);
      const model: Model = { request, report, inputs: plan.inputs, outputNames, replay, weights };
      // Some browsers compile a kernel when it is first dispatched.
      if (request.precompile === true) report.first_run_ms = await this.turn(() => this.firstRun(model));
      return model;
    } catch (error) {
      replay?.destroy();
      weights.release();
      throw error;
    }
  }

  async #compiled(plan: Plan): Promise<GPUComputePipeline[]> {
    const pipelines = await Promise.all(plan.pipelines.map((one) => this.#kernels.pipeline(one)));
    await checked(this.#device, `plan ${plan.name}`, () => {
      compileAhead(this.#device, plan, this.#kernels, pipelines);
    });
    return pipelines;
  }

  protected execute(
    { replay }: Model,
    feeds: ReadonlyMap<string, HostTensor | Stayed<Kept>>,
    keep: ReadonlySet<string>,
  ): Promise<Outcome<Kept>> {
    return replay.run(feeds, keep);
  }

  protected read({ tensor }: Stayed<Kept>): Promise<HostTensor> {
    return fetchKept(this.#device, tensor);
  }

  protected free({ buffer }: Kept): void {
    buffer.destroy();
  }

  protected close({ replay, weights }: Model): Promise<void> {
    replay.destroy();
    weights.release();
    return Promise.resolve();
  }

  protected move(device: GPUDevice): void {
    this.#device = device;
    this.#kernels = new Kernels(device);
    this.#weights = new Weights(device);
  }
}

function checkWeights(plan: Plan, file: AssetHeader | undefined): void {
  const isRight = file?.size_bytes === plan.weights_bytes && file.sha256 === plan.weights_sha256;
  if (plan.weights_bytes > 0 && !isRight)
    throw new PageFailure("model", "the weights are not those the plan was compiled with");
}
