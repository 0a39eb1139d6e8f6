// SPDX-License-Identifier: Apache-2.0
// The engine `auto`: plans are replayed here, ONNX models go to onnxruntime-web, which is fetched
// with the first of them. The host decides which a model becomes.
import type {
  Engine,
  EngineContext,
  EngineModule,
  RunResult,
} from "../../accelerate-browser/page/src/compute/engine";
import { Mutex } from "../../accelerate-browser/page/src/compute/mutex";
import type { Load, Loaded, Ready } from "../../accelerate-browser/page/src/generated/messages";
import { PageFailure } from "../../accelerate-browser/page/src/wire/errors";
import type { HostTensor } from "../../accelerate-browser/page/src/wire/tensor";
import { PlanEngine } from "./plan/engine";

export { API as api } from "../../accelerate-browser/page/src/compute/engine";

export async function create(context: EngineContext): Promise<Engine> {
  return Promise.resolve(new AutoEngine(context));
}

class AutoEngine implements Engine {
  readonly info: Omit<Ready, "type">;
  readonly #plan: PlanEngine;
  readonly #models = new Map<string, Promise<Engine>>();
  readonly #refs = new Map<string, Engine>();
  #context: EngineContext;
  #ort: Promise<Engine> | null = null;
  // The ort engine counts the page's dispatches to know whether a model's first run made any.
  #mutex = new Mutex();

  constructor(context: EngineContext) {
    this.#context = context;
    this.#plan = new PlanEngine(context);
    this.info = this.#plan.info;
  }

  async load(request: Load): Promise<Omit<Loaded, "type" | "id">> {
    const isOnnx = request.format === "onnx";
    const chosen = isOnnx ? this.#openOrt() : Promise.resolve(this.#plan);
    this.#models.set(request.model, chosen);
    try {
      const engine = await chosen;
      const loaded = await engine.load(request);
      const details = isOnnx ? { engine: "ort", engine_version: engine.info.engine_version } : {};
      return { ...loaded, details: { ...loaded.details, ...details } };
    } catch (error) {
      this.#models.delete(request.model);
      throw error;
    }
  }

  async run(
    model: string,
    inputs: Map<string, HostTensor | string>,
    keep: ReadonlySet<string>,
    signal: AbortSignal,
  ): Promise<RunResult> {
    const engine = await this.#of(model);
    return this.#mutex.run(async () => {
      const own = new Map<string, HostTensor | string>();
      for (const [name, input] of inputs) {
        const owner = typeof input === "string" ? this.#owner(input) : engine;
        own.set(name, owner === engine || typeof input !== "string" ? input : await owner.fetch(input));
      }
      const result = await engine.run(model, own, keep, signal);
      for (const { ref } of result.kept.values()) this.#refs.set(ref, engine);
      return result;
    });
  }

  async fetch(ref: string): Promise<HostTensor> {
    return this.#owner(ref).fetch(ref);
  }

  async release(ref: string): Promise<void> {
    await this.#owner(ref).release(ref);
    this.#refs.delete(ref);
  }

  async unload(model: string): Promise<void> {
    const engine = await this.#of(model);
    await engine.unload(model);
    this.#models.delete(model);
  }

  async deviceLost(device: GPUDevice): Promise<void> {
    this.#mutex = new Mutex();
    this.#refs.clear();
    this.#context = { ...this.#context, device };
    await Promise.all([this.#plan.deviceLost(device), this.#ort?.then((ort) => ort.deviceLost?.(device))]);
  }

  async dispose(): Promise<void> {
    await Promise.all([this.#plan.dispose(), this.#ort?.then((ort) => ort.dispose())]);
  }

  #openOrt(): Promise<Engine> {
    this.#ort ??= this.#importOrt();
    this.#ort.catch(() => {
      this.#ort = null;
    });
    return this.#ort;
  }

  async #importOrt(): Promise<Engine> {
    this.#context.progress("fetching onnxruntime-web");
    const module = (await import(`${this.#context.baseUrl}engine.js`)) as EngineModule;
    return module.create(this.#context);
  }

  #of(model: string): Promise<Engine> {
    const engine = this.#models.get(model);
    if (engine === undefined) throw new PageFailure("model", `no model ${model} is loaded`);
    return engine;
  }

  #owner(ref: string): Engine {
    const engine = this.#refs.get(ref);
    if (engine === undefined) throw new PageFailure("model", `no tensor ${ref} is kept here (any more)`);
    return engine;
  }
}
