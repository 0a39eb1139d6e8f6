// SPDX-License-Identifier: Apache-2.0
// The engine over onnxruntime-web that the wasm, webgpu and webnn engines are made of. It is
// served once, at /runtime/ort-engine.js, next to the one copy of onnxruntime-web they share.
import type { InferenceSession, Tensor } from "onnxruntime-web";
import type { Load, Loaded, Ready } from "../generated/messages";
import { PageFailure } from "../wire/errors";
import type { HostTensor } from "../wire/tensor";
import type { Engine, EngineContext, KeptTensor, RunResult } from "./engine";
import { checkInputs, declared, overridesOf, zeros, type Declared } from "./inputs";
import { Mutex } from "./mutex";
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

interface Model {
  request: Load;
  session: InferenceSession;
  /** It has run on what its provider promises. */
  isProven: boolean;
  report: Omit<Loaded, "type" | "id">;
}

/** Runs ONNX models through onnxruntime-web, one at a time. */
export class OrtEngine implements Engine {
  readonly info: Omit<Ready, "type">;
  readonly #ort: OrtModule;
  readonly #context: EngineContext;
  readonly #provider: Provider;
  readonly #models = new Map<string, Promise<Model>>();
  readonly #kept = new Map<string, Tensor>();
  // onnxruntime-web runs one session at a time, and refuses a second call meanwhile.
  #mutex = new Mutex();
  #refs = 0;

  private constructor(ort: OrtModule, context: EngineContext, provider: Provider) {
    this.#ort = ort;
    this.#context = context;
    this.#provider = provider;
    this.info = { engine_version: `onnxruntime-web ${ort.env.versions.web ?? "?"}`, ...provider.info };
  }

  /** Make an engine whose provider has computed a matrix product correctly. */
  static async create(ort: OrtModule, context: EngineContext, provider: Provider): Promise<OrtEngine> {
    await proveProvider(ort, provider.options([]));
    return new OrtEngine(ort, context, provider);
  }

  async load(request: Load): Promise<Omit<Loaded, "type" | "id">> {
    if (request.format !== "onnx") throw new PageFailure("unsupported", `models of format ${request.format}`);
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
    const model = await this.#model(name);
    return this.#mutex.run(async () => {
      signal.throwIfAborted();
      try {
        return await this.#run(model, inputs, keep);
      } catch (error) {
        throw runFailure(error, name);
      }
    });
  }

  async fetch(ref: string): Promise<HostTensor> {
    return this.#mutex.run(async () => {
      const host = await toHost(this.#ref(ref), false);
      // The answer is handed over to another thread, and the kept tensor must outlive that.
      return { ...host, data: host.data.slice() };
    });
  }

  async release(ref: string): Promise<void> {
    this.#ref(ref).dispose();
    this.#kept.delete(ref);
    return Promise.resolve();
  }

  async unload(name: string): Promise<void> {
    const model = await this.#model(name);
    this.#models.delete(name);
    await this.#mutex.run(() => model.session.release());
  }

  async deviceLost(device: GPUDevice): Promise<void> {
    // What is stuck on the old device would hold the old mutex for ever.
    this.#mutex = new Mutex();
    this.#kept.clear();
    this.#provider.deviceLost?.(device);
    const old = [...this.#models.values()];
    const reloads: Promise<unknown>[] = [];
    for (const model of await Promise.allSettled(old)) {
      if (model.status === "rejected") continue;
      const { request, session } = model.value;
      // Its resources went with the device; only the WASM side is left to free.
      await session.release().catch(() => undefined);
      reloads.push(this.load({ ...request, precompile: false }));
    }
    await Promise.all(reloads);
  }

  async dispose(): Promise<void> {
    for (const tensor of this.#kept.values()) tensor.dispose();
    this.#kept.clear();
    for (const model of await Promise.allSettled(this.#models.values())) {
      if (model.status === "fulfilled") await model.value.session.release();
    }
    this.#models.clear();
    this.#provider.dispose?.();
  }

  async #load(request: Load): Promise<Model> {
    const startedAt = performance.now();
    const { graph, options, isCached } = await this.#source(request);
    const fetch_ms = performance.now() - startedAt;
    return this.#mutex.run(async () => {
      const turnAt = performance.now();
      this.#context.progress("compiling the model");
      try {
        const { session, details } = await this.#create(graph, options);
        const compile_ms = performance.now() - turnAt;
        this.#context.progress();
        const report = { model: request.model, fetch_ms, compile_ms, is_cached: isCached, details };
        const model: Model = { request, session, report, isProven: false };
        if (request.precompile === true)
          model.report = { ...report, first_run_ms: await this.#firstRun(model) };
        return model;
      } catch (error) {
        throw loadFailure(error, request.model);
      }
    });
  }

  async #source(request: Load): Promise<{ graph: Uint8Array; options: SessionOptions; isCached: boolean }> {
    const options = this.#options(request);
    const assets = await Promise.all(request.assets.map((header) => this.#context.asset(header)));
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

  async #firstRun(model: Model): Promise<number> {
    const { inputs, dimensions = {} } = model.request;
    this.#context.progress("running the model for the first time");
    try {
      return (await this.#run(model, zeros(declared(inputs), dimensions), new Set())).inPageMs;
    } catch (error) {
      await model.session.release().catch(() => undefined);
      throw error;
    }
  }

  async #run(
    model: Model,
    inputs: Map<string, HostTensor | string>,
    keep: ReadonlySet<string>,
  ): Promise<RunResult> {
    const startedAt = performance.now();
    const feeds = this.#feeds(model, inputs);
    for (const name of keep) {
      if (!model.session.outputNames.includes(name)) {
        throw new PageFailure(
          "model",
          `the model has no output ${name}; its outputs are ${model.session.outputNames.join(", ")}`,
        );
      }
    }
    const run = () => model.session.run(feeds);
    const watch = model.isProven ? undefined : this.#provider.watchFirstRun;
    const results = Object.entries(
      await (watch === undefined ? run() : watch(run, () => this.#place(model.request))),
    );
    model.isProven = true;
    const outputs = new Map<string, HostTensor>();
    const kept = new Map<string, KeptTensor>();
    for (const [name, tensor] of results) {
      if (keep.has(name)) kept.set(name, this.#keep(tensor));
      else outputs.set(name, await toHost(tensor, true));
    }
    return { outputs, kept, inPageMs: performance.now() - startedAt };
  }

  #feeds(model: Model, inputs: Map<string, HostTensor | string>): Record<string, Tensor> {
    const known = new Map<string, { dtype: string; shape: readonly number[] }>();
    for (const [name, input] of inputs) {
      if (typeof input !== "string") known.set(name, input);
      else known.set(name, { dtype: this.#ref(input).type, shape: this.#ref(input).dims });
    }
    checkInputs(known, declared(model.request.inputs));
    const feeds: Record<string, Tensor> = {};
    for (const [name, input] of inputs)
      feeds[name] = typeof input === "string" ? this.#ref(input) : toOrt(this.#ort, input);
    return feeds;
  }

  #keep(tensor: Tensor): KeptTensor {
    this.#refs += 1;
    const ref = `${this.#context.generation}-${this.#refs}`;
    this.#kept.set(ref, tensor);
    return { ref, dtype: tensor.type, shape: tensor.dims };
  }

  #ref(ref: string): Tensor {
    const tensor = this.#kept.get(ref);
    if (tensor === undefined) throw new PageFailure("model", `no tensor ${ref} is kept here (any more)`);
    return tensor;
  }

  async #model(name: string): Promise<Model> {
    const model = this.#models.get(name);
    if (model === undefined) throw new PageFailure("model", `no model ${name} is loaded`);
    return model;
  }
}
