// SPDX-License-Identifier: Apache-2.0
// The page's compute thread: one engine, its device, and the requests to it.
import type { Run, Welcome } from "../generated/messages";
import type { Answer, FromCompute, Request, ToCompute } from "../wire/compute-messages";
import { describe, PageFailure, toPageError } from "../wire/errors";
import { buffersOf, tensorBytes, type NamedRef, type NamedTensor } from "../wire/tensor";
import { Assets } from "./assets";
import { API, type Engine, type EngineModule } from "./engine";
import { GpuOwner, type DeviceListener } from "./gpu-owner";
import { openStorage } from "./storage";

const PROGRESS_MS = 100;

class Compute {
  readonly #welcome: Welcome;
  readonly #generation: number;
  readonly #running = new Map<number, AbortController>();
  readonly #gpu: GpuOwner | null;
  readonly #engine: Promise<Engine>;
  #progressAt = 0;
  #ticking: ReturnType<typeof setInterval> | undefined;

  constructor(welcome: Welcome, generation: number) {
    this.#welcome = welcome;
    this.#generation = generation;
    this.#gpu = welcome.needs_gpu === true ? new GpuOwner(welcome.options ?? {}, this.#onDevice()) : null;
    this.#engine = this.#create();
    this.#engine.then(
      (engine) => {
        const details = { ...engine.info.details, readback_poll: this.#gpu?.isPolled ?? false };
        post({ kind: "ready", message: { type: "Ready", ...engine.info, details } });
      },
      (error: unknown) => {
        if (error instanceof WebAssembly.RuntimeError) post({ kind: "broken", reason: describe(error) });
        else post({ kind: "fatal", error: toPageError(error, "unavailable") });
      },
    );
  }

  async #create(): Promise<Engine> {
    const { engine_url: url, options = {} } = this.#welcome;
    const gpu = await this.#gpu?.open();
    const module = (await import(url)) as EngineModule;
    if (module.api !== API) {
      throw new PageFailure(
        "unavailable",
        `${url} speaks version ${module.api} of the engine interface, this page ${API}`,
      );
    }
    const assets = new Assets(openStorage(), this.#progress);
    return module.create({
      device: gpu?.device ?? null,
      adapter: gpu?.adapter ?? null,
      baseUrl: url.slice(0, url.lastIndexOf("/") + 1),
      runtimeUrl: "/runtime/",
      options,
      generation: this.#generation,
      asset: (header) => assets.get(header),
      progress: this.#progress,
      log: (message) => {
        post({ kind: "notice", event: "log", message, data: {} });
      },
    });
  }

  async request(message: Request, tensors: (NamedTensor | NamedRef)[]): Promise<void> {
    const abort = new AbortController();
    this.#running.set(message.id, abort);
    this.#ticking ??= setInterval(this.#progress, PROGRESS_MS);
    try {
      const engine = await this.#engine;
      const work = () => this.#answer(engine, message, tensors, abort.signal);
      const [answer, outputs] = await (this.#gpu?.guard(work) ?? work());
      post({ kind: "answer", message: answer, tensors: outputs }, buffersOf(outputs));
    } catch (error) {
      post({ kind: "failed", id: message.id, error: toPageError(error) });
      // A trap leaves a WASM instance in the middle of what it did.
      if (error instanceof WebAssembly.RuntimeError) post({ kind: "broken", reason: describe(error) });
    } finally {
      this.#running.delete(message.id);
      if (this.#running.size === 0) {
        clearInterval(this.#ticking);
        this.#ticking = undefined;
      }
    }
  }

  cancel(id: number): void {
    this.#running
      .get(id)
      ?.abort(new PageFailure("cancelled", `request ${id} was cancelled`, { name: "AbortError" }));
  }

  async dispose(): Promise<void> {
    try {
      await (await this.#engine).dispose();
    } finally {
      this.#gpu?.close();
    }
  }

  async #answer(
    engine: Engine,
    message: Request,
    tensors: (NamedTensor | NamedRef)[],
    signal: AbortSignal,
  ): Promise<[Answer, (NamedTensor | NamedRef)[]]> {
    const { id } = message;
    switch (message.type) {
      case "Load":
        return [{ type: "Loaded", id, ...(await engine.load(message)) }, []];
      case "Run":
        return this.#run(engine, message, tensors, signal);
      case "Fetch":
        return [{ type: "Done", id }, [{ name: message.ref, ...(await engine.fetch(message.ref)) }]];
      case "Release":
        await engine.release(message.ref);
        return [{ type: "Done", id }, []];
      case "Unload":
        await engine.unload(message.model);
        return [{ type: "Done", id }, []];
      case "Echo":
        return [{ type: "Done", id }, tensors];
    }
  }

  async #run(
    engine: Engine,
    message: Run,
    tensors: (NamedTensor | NamedRef)[],
    signal: AbortSignal,
  ): Promise<[Answer, (NamedTensor | NamedRef)[]]> {
    const inputs = new Map(
      tensors.map((tensor) => [tensor.name, "ref" in tensor ? tensor.ref : tensor] as const),
    );
    const { outputs, kept, inPageMs, profile } = await engine.run(
      message.model,
      inputs,
      new Set(message.keep),
      signal,
    );
    const named: (NamedTensor | NamedRef)[] = [];
    for (const [name, tensor] of outputs) {
      if (tensorBytes(tensor.dtype, tensor.shape) !== tensor.data.length) {
        throw new PageFailure(
          "unsupported",
          `output ${name} of type ${tensor.dtype} cannot cross the bridge`,
        );
      }
      named.push({ name, ...tensor });
    }
    for (const [name, tensor] of kept) named.push({ name, ...tensor });
    const times = profile === undefined ? {} : { profile };
    return [{ type: "Done", id: message.id, in_page_ms: inPageMs, ...times }, named];
  }

  readonly #progress = (doing?: string): void => {
    if (doing !== undefined) post({ kind: "notice", event: "progress", message: doing, data: {} });
    const now = performance.now();
    if (now - this.#progressAt < PROGRESS_MS) return;
    this.#progressAt = now;
    post({ kind: "progress" });
  };

  #onDevice(): DeviceListener {
    return {
      lost: (reason) => {
        post({ kind: "notice", event: "device_lost", message: reason, data: {} });
      },
      restored: async (device) => {
        const engine = await this.#engine;
        try {
          if (engine.deviceLost === undefined) throw new Error("this engine cannot move to another device");
          await engine.deviceLost(device);
        } catch (error) {
          post({ kind: "broken", reason: describe(error) });
          return;
        }
        post({ kind: "notice", event: "device_restored", message: "", data: {} });
      },
      failed: (error) => {
        post({ kind: "fatal", error: toPageError(error) });
      },
    };
  }
}

function post(message: FromCompute, transfer: ArrayBuffer[] = []): void {
  self.postMessage(message, { transfer });
}

let compute: Compute | null = null;
self.onmessage = async (event: MessageEvent<ToCompute>): Promise<void> => {
  const message = event.data;
  if (message.kind === "start") {
    compute = new Compute(message.welcome, message.generation);
  } else if (message.kind === "request") {
    await compute?.request(message.message, message.tensors);
  } else if (message.kind === "cancel") {
    compute?.cancel(message.id);
  } else {
    await compute?.dispose().catch(() => undefined);
    post({ kind: "disposed" });
  }
};
