// SPDX-License-Identifier: Apache-2.0
import type { KernelHeader, Load, Loaded, Ready } from "../generated/messages";
import { PageFailure } from "../wire/errors";
import type { HostTensor } from "../wire/tensor";
import type { Engine, EngineContext, RunResult } from "./engine";
import { checkInputs, zeros, type Declared } from "./inputs";
import { Mutex } from "./mutex";

export type LoadReport = Omit<Loaded, "type" | "id">;

export interface LoadedModel {
  request: Load;
  report: LoadReport;
  inputs: readonly Declared[];
  outputNames: readonly string[];
}

/** An output that stays where the engine computes. */
export interface Stayed<T> {
  dtype: string;
  shape: readonly number[];
  tensor: T;
}

export interface Outcome<T> {
  outputs: Map<string, HostTensor>;
  kept: Map<string, Stayed<T>>;
  profile?: readonly KernelHeader[];
}

/**
 * What engines share: models by name, one run at a time, checked inputs, kept tensors, and loading
 * all models again on another device. An engine says how a model is opened, run and closed.
 */
export abstract class ModelEngine<M extends LoadedModel, T> implements Engine {
  abstract readonly info: Omit<Ready, "type">;
  protected readonly context: EngineContext;
  readonly #refPrefix: string;
  readonly #models = new Map<string, Promise<M>>();
  readonly #kept = new Map<string, Stayed<T>>();
  #mutex = new Mutex();
  #refs = 0;

  constructor(context: EngineContext, name: string) {
    this.context = context;
    this.#refPrefix = `${context.generation}-${name}`;
  }

  /** Load a model. What has to wait for runs takes a `turn`. */
  protected abstract open(request: Load): Promise<M>;
  protected abstract execute(
    model: M,
    feeds: ReadonlyMap<string, HostTensor | Stayed<T>>,
    keep: ReadonlySet<string>,
  ): Promise<Outcome<T>>;
  /** Copy a kept tensor; the copy's buffer is handed over. */
  protected abstract read(kept: Stayed<T>): Promise<HostTensor>;
  protected abstract free(tensor: T): void;
  protected abstract close(model: M): Promise<void>;
  /** Go on with another device; what lived on the old one is gone, models are opened again. */
  protected abstract move(device: GPUDevice): void;

  async load(request: Load): Promise<LoadReport> {
    const model = this.open(request);
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
    return this.turn(() => {
      signal.throwIfAborted();
      return this.#run(model, inputs, keep);
    });
  }

  async fetch(ref: string): Promise<HostTensor> {
    return this.turn(() => this.read(this.#ref(ref)));
  }

  async release(ref: string): Promise<void> {
    this.free(this.#ref(ref).tensor);
    this.#kept.delete(ref);
    return Promise.resolve();
  }

  async unload(name: string): Promise<void> {
    const model = await this.#model(name);
    this.#models.delete(name);
    await this.turn(() => this.close(model));
  }

  async deviceLost(device: GPUDevice): Promise<void> {
    // What is stuck on the old device would hold the old mutex for ever.
    this.#mutex = new Mutex();
    this.#kept.clear();
    this.move(device);
    const old = await Promise.allSettled(this.#models.values());
    const reloads: Promise<unknown>[] = [];
    for (const model of old) {
      if (model.status === "rejected") continue;
      // Its resources went with the device; what is left to free is on the CPU.
      await this.close(model.value).catch(() => undefined);
      reloads.push(this.load({ ...model.value.request, precompile: false }));
    }
    await Promise.all(reloads);
  }

  async dispose(): Promise<void> {
    for (const { tensor } of this.#kept.values()) this.free(tensor);
    this.#kept.clear();
    for (const model of await Promise.allSettled(this.#models.values())) {
      if (model.status === "fulfilled") await this.close(model.value);
    }
    this.#models.clear();
  }

  /** Do work when no other is done. */
  protected turn<R>(work: () => Promise<R>): Promise<R> {
    return this.#mutex.run(work);
  }

  /** Run a model on zeros and return how long it took. Only within a turn. */
  protected async firstRun(model: M): Promise<number> {
    this.context.progress("running the model for the first time");
    const inputs = zeros(model.inputs, model.request.dimensions ?? {});
    return (await this.#run(model, inputs, new Set())).inPageMs;
  }

  async #run(
    model: M,
    inputs: Map<string, HostTensor | string>,
    keep: ReadonlySet<string>,
  ): Promise<RunResult> {
    const startedAt = performance.now();
    const feeds = new Map<string, HostTensor | Stayed<T>>();
    for (const [name, input] of inputs) feeds.set(name, typeof input === "string" ? this.#ref(input) : input);
    checkInputs(feeds, model.inputs);
    for (const name of keep) {
      if (!model.outputNames.includes(name)) {
        const names = model.outputNames.join(", ");
        throw new PageFailure("model", `the model has no output ${name}; its outputs are ${names}`);
      }
    }
    const { kept, ...rest } = await this.execute(model, feeds, keep);
    const refs = new Map([...kept].map(([name, stayed]) => [name, this.#keep(stayed)]));
    return { ...rest, kept: refs, inPageMs: performance.now() - startedAt };
  }

  #keep(stayed: Stayed<T>): { ref: string; dtype: string; shape: readonly number[] } {
    this.#refs += 1;
    const ref = `${this.#refPrefix}-${this.#refs}`;
    this.#kept.set(ref, stayed);
    return { ref, dtype: stayed.dtype, shape: stayed.shape };
  }

  #ref(ref: string): Stayed<T> {
    const stayed = this.#kept.get(ref);
    if (stayed === undefined) throw new PageFailure("model", `no tensor ${ref} is kept here (any more)`);
    return stayed;
  }

  async #model(name: string): Promise<M> {
    const model = this.#models.get(name);
    if (model === undefined) throw new PageFailure("model", `no model ${name} is loaded`);
    return model;
  }
}
