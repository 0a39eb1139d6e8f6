// SPDX-License-Identifier: Apache-2.0
import type { Load, PageError, Ready, Release, Unload, Welcome } from "../generated/messages";
import { PageFailure, toPageError, type ErrorKind } from "../wire/errors";
import type { Answer, FromCompute, Request, ToCompute } from "../wire/compute-messages";
import { buffersOf, type NamedRef, type NamedTensor } from "../wire/tensor";

const COMPUTE_URL = "/runtime/compute.js";
const DEFAULT_GRACE_MS = 2_000;
const DISPOSE_MS = 2_000;
const MAX_RESTARTS = 3;
/** Id of a request the host did not make and is not told of. */
const UNASKED = 0;
const RESTART_WINDOW_MS = 60_000;

export interface Listener {
  ready(message: Ready): void;
  answer(message: Answer, tensors: (NamedTensor | NamedRef)[]): void;
  failed(id: number | null, error: PageError): void;
  notice(event: string, message: string, data: Readonly<Record<string, unknown>>): void;
}

/** Owns the compute Web Worker: passes requests, and replaces it when it hangs or breaks. */
export class ComputeThread {
  readonly #welcome: Welcome;
  readonly #listener: Listener;
  readonly #pending = new Map<number, Request>();
  readonly #cancelled = new Map<number, ReturnType<typeof setTimeout>>();
  readonly #loaded = new Map<string, Load>();
  readonly #reloading = new Map<number, Load>();
  readonly #restarts: number[] = [];
  #worker: Worker;
  #generation = 0;
  #isReady = false;
  #renewal: number | null = null;
  #onDisposed: (() => void) | null = null;

  /** Counts what the compute thread said; it stands still while that thread is stuck. */
  progress = 0;
  answered = 0;

  constructor(welcome: Welcome, listener: Listener) {
    this.#welcome = welcome;
    this.#listener = listener;
    this.#worker = this.#spawn();
  }

  get running(): number {
    return this.#pending.size;
  }

  /** Pass a request on; its tensors' buffers are handed over, not copied. */
  request(message: Request, tensors: (NamedTensor | NamedRef)[]): void {
    this.#pending.set(message.id, message);
    this.#post({ kind: "request", message, tensors }, buffersOf(tensors));
  }

  /** Give a request up: ask first, and after the grace period replace the thread. */
  cancel(id: number, graceMs = DEFAULT_GRACE_MS): void {
    if (!this.#pending.has(id) || this.#cancelled.has(id)) return;
    const timer = setTimeout(() => {
      this.#restart(`request ${id} did not stop within ${graceMs} ms`, "cancelled");
    }, graceMs);
    this.#cancelled.set(id, timer);
    this.#post({ kind: "cancel", id });
  }

  /** Go on with another thread, and so another device, without models. */
  renew(id: number): void {
    this.#loaded.clear();
    this.#renewal = id;
    this.#replace("the host asked for it", "device_lost");
  }

  /** Let the engine free what it holds, then stop the thread. */
  async dispose(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#onDisposed = resolve;
      setTimeout(resolve, DISPOSE_MS);
      this.#post({ kind: "dispose" });
    });
    this.terminate();
  }

  terminate(): void {
    this.#worker.onmessage = null;
    this.#worker.onerror = null;
    this.#worker.terminate();
    for (const timer of this.#cancelled.values()) clearTimeout(timer);
    this.#cancelled.clear();
  }

  #post(message: ToCompute, transfer: ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, transfer);
  }

  #spawn(): Worker {
    const worker = new Worker(COMPUTE_URL, { type: "module", name: "accelerate-compute" });
    worker.onmessage = (event: MessageEvent<FromCompute>) => {
      this.progress += 1;
      this.#receive(event.data);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      this.#restart(event.message || "the compute thread's script did not load");
    };
    this.#generation += 1;
    worker.postMessage({
      kind: "start",
      welcome: this.#welcome,
      generation: this.#generation,
    } satisfies ToCompute);
    return worker;
  }

  #receive(message: FromCompute): void {
    switch (message.kind) {
      case "ready":
        if (!this.#isReady) this.#listener.ready(message.message);
        if (this.#renewal !== null) this.#listener.answer({ type: "Done", id: this.#renewal }, []);
        this.#isReady = true;
        this.#renewal = null;
        break;
      case "answer":
        this.#answer(message.message, message.tensors);
        break;
      case "failed":
        this.#failed(message.id, message.error);
        break;
      case "notice":
        this.#listener.notice(message.event, message.message, message.data);
        break;
      case "broken":
        if (this.#isReady) this.#restart(message.reason);
        else this.#startAgain(message.reason);
        break;
      case "fatal":
        this.#fail(message.error);
        break;
      case "disposed":
        this.#onDisposed?.();
        break;
      case "progress":
        break;
    }
  }

  #answer(message: Answer, tensors: (NamedTensor | NamedRef)[]): void {
    if (this.#reloaded(message.id)) return;
    const { request, isWanted } = this.#settle(message.id);
    if (request === undefined) return;
    if (!isWanted) {
      // The host has forgotten a cancelled load, and what a cancelled run kept; so must the thread.
      if (request.type === "Load") this.#forget({ type: "Unload", id: UNASKED, model: request.model });
      for (const tensor of tensors)
        if ("ref" in tensor) this.#forget({ type: "Release", id: UNASKED, ref: tensor.ref });
      return;
    }
    if (request.type === "Load") this.#loaded.set(request.model, request);
    if (request.type === "Unload") this.#loaded.delete(request.model);
    this.#listener.answer(message, tensors);
  }

  #failed(id: number, error: PageError): void {
    const load = this.#reloading.get(id);
    if (load !== undefined) {
      this.#loaded.delete(load.model);
      this.#listener.notice("log", `model ${load.model} could not be loaded again: ${error.message}`, {});
      this.#reloaded(id);
      return;
    }
    const { request, isWanted } = this.#settle(id);
    if (request !== undefined && isWanted) this.#listener.failed(id, error);
  }

  // A request that was cancelled meanwhile is answered here, whatever came of it.
  #settle(id: number): { request: Request | undefined; isWanted: boolean } {
    const request = this.#pending.get(id);
    this.#pending.delete(id);
    const timer = this.#cancelled.get(id);
    if (request !== undefined) this.answered += 1;
    if (timer === undefined) return { request, isWanted: true };
    clearTimeout(timer);
    this.#cancelled.delete(id);
    this.#listener.failed(id, cancelled(id));
    return { request, isWanted: false };
  }

  #forget(message: Unload | Release): void {
    this.#post({ kind: "request", message, tensors: [] });
  }

  #restart(reason: string, kind: ErrorKind = "device_lost"): void {
    if (!this.#isReady || this.#isTooOften()) {
      this.#fail(toPageError(new PageFailure("unavailable", `The compute thread failed: ${reason}`)));
      return;
    }
    this.#replace(reason, kind);
  }

  // A trap is a crash of the engine: in WebKitGTK 2.50 one start of onnxruntime-web in about 70 trapped.
  #startAgain(reason: string): void {
    this.terminate();
    if (this.#generation > 1) {
      this.#fail(toPageError(new PageFailure("unavailable", `The engine crashed at each start: ${reason}`)));
      return;
    }
    this.#listener.notice("log", `The engine crashed at its start and is started again: ${reason}`, {});
    this.#worker = this.#spawn();
  }

  #replace(reason: string, kind: ErrorKind): void {
    this.terminate();
    this.#listener.notice("device_lost", `The compute thread is replaced: ${reason}`, { reason });
    const error = toPageError(new PageFailure(kind, `The compute thread was replaced: ${reason}`));
    for (const id of [...this.#pending.keys()]) {
      this.#pending.delete(id);
      this.#listener.failed(id, error);
    }
    this.#worker = this.#spawn();
    this.#reload();
  }

  // The new thread works in order, so requests that come now wait for these loads there.
  #reload(): void {
    this.#reloading.clear();
    let id = 0;
    for (const load of this.#loaded.values()) {
      id -= 1;
      this.#reloading.set(id, load);
      this.#post({ kind: "request", message: { ...load, id, precompile: false }, tensors: [] });
    }
    if (id === 0) this.#listener.notice("device_restored", "", {});
  }

  #reloaded(id: number): boolean {
    if (!this.#reloading.delete(id)) return false;
    if (this.#reloading.size === 0) this.#listener.notice("device_restored", "", {});
    return true;
  }

  #isTooOften(): boolean {
    const now = performance.now();
    while (this.#restarts.length > 0 && now - (this.#restarts[0] ?? now) > RESTART_WINDOW_MS)
      this.#restarts.shift();
    return this.#restarts.push(now) > MAX_RESTARTS;
  }

  #fail(error: PageError): void {
    this.terminate();
    this.#pending.clear();
    this.#listener.failed(null, error);
  }
}

function cancelled(id: number): PageError {
  return toPageError(new PageFailure("cancelled", `request ${id} was cancelled`, { name: "AbortError" }));
}
