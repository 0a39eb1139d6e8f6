// SPDX-License-Identifier: Apache-2.0
// The engine over onnxruntime-web that the wasm, webgpu and webnn engines are made of. It is
// served once, at /runtime/ort-engine.js, next to the one copy of onnxruntime-web they share.
import type { InferenceSession, Tensor } from "onnxruntime-web";
import type { Load, Ready } from "../generated/messages";
import { PageFailure } from "../wire/errors";
import type { HostTensor } from "../wire/tensor";
import type { EngineContext } from "./engine";
import { declared, overridesOf, type Declared } from "./inputs";
import { ModelEngine, type LoadedModel, type Outcome, type Stayed } from "./model-engine";
import { loadFailure, runFailure } from "./ort-errors";
import { proveProvider, type OrtModule } from "./ort-load";
import { createPlaced, type Placement } from "./ort-placement";
import { toHost, toOrt } from "./ort-tensors";

export { hasJspi, importOrt, proveProvider, type OrtModule } from "./ort-load";
export { createPlaced, operatorList, type Placement } from "./ort-placement";
export type { Declared } from "./inputs";
export { chooseThreads, type ThreadChoice } from "./threads";
export { describe, PageFailure } from "../wire/errors";

export type SessionOptions = InferenceSession.SessionOptions;

export interface CreatedSession {
  session: InferenceSession;
  /** Goes into Loaded.details. */
  details: Record<string, unknown>;
}

/** What differs between the engines over onnxruntime-web. */
export interface Provider {
  /** Session options of this provider, asked for at each session of these outputs. */
  options(outputs: readonly Declared[]): SessionOptions;
  /** Shapes have to be known when a session is created. */
  needsStaticShapes: boolean;
  /** Create a session where more is to be done than to call onnxruntime-web. */
  createSession?(model: Uint8Array, options: SessionOptions): Promise<CreatedSession>;
  /**
   * Watch a model's first run, and throw when it was not what the provider promises. `place` says
   * where the model's nodes are; it costs another session.
   */
  watchFirstRun?: <T>(run: () => Promise<T>, place: () => Promise<Placement>) => Promise<T>;
  deviceLost?(device: GPUDevice): void;
  dispose?(): void;
  info: Omit<Ready, "type" | "engine_version">;
}

interface Model extends LoadedModel {
  session: InferenceSession;
  /** It has run on what its provider promises. */
  isProven: boolean;
}

/** Runs ONNX models through onnxruntime-web, which runs one session at a time. */
export class OrtEngine extends ModelEngine<Model, Tensor> {
  readonly info: Omit<Ready, "type">;
  readonly #ort: OrtModule;
  readonly #provider: Provider;

  private constructor(ort: OrtModule, context: EngineContext, provider: Provider) {
    super(context, "ort");
    this.#ort = ort;
    this.#provider = provider;
    this.info = { engine_version: `onnxruntime-web ${ort.env.versions.web ?? "?"}`, ...provider.info };
  }

  /** Make an engine whose provider has computed a matrix product correctly. */
  static async create(ort: OrtModule, context: EngineContext, provider: Provider): Promise<OrtEngine> {
    await proveProvider(ort, provider.options([]));
    return new OrtEngine(ort, context, provider);
  }

  override async dispose(): Promise<void> {
    await super.dispose();
    this.#provider.dispose?.();
  }

  protected async open(request: Load): Promise<Model> {
    if (request.format !== "onnx") throw new PageFailure("unsupported", `models of format ${request.format}`);
    const startedAt = performance.now();
    const { graph, options, isCached } = await this.#source(request);
    const fetch_ms = performance.now() - startedAt;
    return this.turn(async () => {
      const turnAt = performance.now();
      this.context.progress("compiling the model");
      try {
        const { session, details } = await this.#create(graph, options);
        const compile_ms = performance.now() - turnAt;
        this.context.progress();
        const model: Model = {
          request,
          session,
          inputs: declared(request.inputs),
          outputNames: session.outputNames,
          report: { model: request.model, fetch_ms, compile_ms, is_cached: isCached, details },
          isProven: false,
        };
        if (request.precompile === true) await this.#precompile(model);
        return model;
      } catch (error) {
        throw loadFailure(error, request.model);
      }
    });
  }

  protected async execute(
    model: Model,
    inputs: ReadonlyMap<string, HostTensor | Stayed<Tensor>>,
    keep: ReadonlySet<string>,
  ): Promise<Outcome<Tensor>> {
    try {
      return await this.#execute(model, inputs, keep);
    } catch (error) {
      throw runFailure(error, model.request.model);
    }
  }

  async #execute(
    model: Model,
    inputs: ReadonlyMap<string, HostTensor | Stayed<Tensor>>,
    keep: ReadonlySet<string>,
  ): Promise<Outcome<Tensor>> {
    const feeds: Record<string, Tensor> = {};
    for (const [name, input] of inputs)
      feeds[name] = "tensor" in input ? input.tensor : toOrt(this.#ort, input);
    const run = () => model.session.run(feeds);
    const watch = model.isProven ? undefined : this.#provider.watchFirstRun;
    const results = Object.entries(
      await (watch === undefined ? run() : watch(run, () => this.#place(model.request))),
    );
    model.isProven = true;
    const outputs = new Map<string, HostTensor>();
    const kept = new Map<string, Stayed<Tensor>>();
    for (const [name, tensor] of results) {
      if (keep.has(name)) kept.set(name, { dtype: tensor.type, shape: tensor.dims, tensor });
      else outputs.set(name, await toHost(tensor, true));
    }
    return { outputs, kept };
  }

  protected async read({ tensor }: Stayed<Tensor>): Promise<HostTensor> {
    const host = await toHost(tensor, false);
    // The answer is handed over to another thread, and the kept tensor must outlive that.
    return { ...host, data: host.data.slice() };
  }

  protected free(tensor: Tensor): void {
    tensor.dispose();
  }

  protected close(model: Model): Promise<void> {
    return model.session.release();
  }

  protected move(device: GPUDevice): void {
    this.#provider.deviceLost?.(device);
  }

  async #source(request: Load): Promise<{ graph: Uint8Array; options: SessionOptions; isCached: boolean }> {
    const options = this.#options(request);
    const assets = await Promise.all(request.assets.map((header) => this.context.asset(header)));
    const [graph, ...external] = assets.map(({ bytes }) => bytes);
    if (graph === undefined) throw new PageFailure("model", `model ${request.model} has no graph`);
    options.externalData = external.map((data, i) => ({ path: request.assets[i + 1]?.name ?? "", data }));
    return { graph, options, isCached: assets.every(({ isCached }) => isCached) };
  }

  async #place(request: Load): Promise<Placement> {
    const { graph, options } = await this.#source(request);
    const { session, placement } = await createPlaced(this.#ort, graph, options);
    await session.release();
    return placement;
  }

  #options(request: Load): SessionOptions {
    const options = this.#provider.options(declared(request.outputs));
    if (!this.#provider.needsStaticShapes) return options;
    const inputs = declared(request.inputs);
    const overrides = overridesOf(inputs, request.dimensions ?? {});
    for (const { name, shape } of inputs) {
      const free = shape.find((extent) => typeof extent === "string" && overrides[extent] === undefined);
      if (free !== undefined) {
        throw new PageFailure(
          "unsupported",
          `input ${name} has a free dimension ${free}: this engine needs a value for it at load`,
        );
      }
    }
    return { ...options, freeDimensionOverrides: overrides };
  }

  async #create(bytes: Uint8Array, options: SessionOptions): Promise<CreatedSession> {
    if (this.#provider.createSession !== undefined) return this.#provider.createSession(bytes, options);
    return { session: await this.#ort.InferenceSession.create(bytes, options), details: {} };
  }

  async #precompile(model: Model): Promise<void> {
    try {
      model.report.first_run_ms = await this.firstRun(model);
    } catch (error) {
      await model.session.release().catch(() => undefined);
      throw error;
    }
  }
}
