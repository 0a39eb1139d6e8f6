// SPDX-License-Identifier: Apache-2.0
import { describe, hasKind, PageFailure } from "../wire/errors";
import { openGpu, type Gpu } from "./gpu";
import { ReadbackPoll, wantsReadbackPoll } from "./readback";

const REOPEN_ATTEMPTS = 10;
const REOPEN_PAUSE_MS = 300;
// A run on a device that is gone may fail before the loss is told.
const LOSS_GRACE_MS = 100;

export interface DeviceListener {
  lost(reason: string): void;
  restored(device: GPUDevice): Promise<void>;
  failed(error: PageFailure): void;
}

/** Owns the page's GPUDevice: opens it, and opens another when it is lost. */
export class GpuOwner {
  readonly #options: Readonly<Record<string, unknown>>;
  readonly #listener: DeviceListener;
  readonly #poll: ReadbackPoll | null;
  readonly #guards = new Set<(failure: PageFailure) => void>();
  #device: GPUDevice | null = null;
  /** Settles when there is a device and the engine lives on it. */
  #restored: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(options: Readonly<Record<string, unknown>>, listener: DeviceListener) {
    this.#options = options;
    this.#listener = listener;
    const canPoll = typeof GPUBuffer !== "undefined" && wantsReadbackPoll(options["readback_poll"] ?? "auto");
    this.#poll = canPoll ? new ReadbackPoll() : null;
  }

  get isPolled(): boolean {
    return this.#poll !== null;
  }

  /** Open the device and watch over it. */
  async open(): Promise<Gpu> {
    const gpu = await openGpu(this.#options, (device) => this.#poll?.watch(device));
    this.#device = gpu.device;
    void gpu.device.lost.then(({ message }) => {
      const failure = new PageFailure(
        "device_lost",
        `The GPU device was lost: ${message || "no reason given"}`,
      );
      for (const reject of this.#guards) reject(failure);
      if (!this.#isClosed) this.#restored = this.#restore(failure);
    });
    return gpu;
  }

  /**
   * Do work when there is a device, but wait no longer than that device lives; a loss explains
   * the error it causes.
   */
  async guard<T>(work: () => Promise<T>): Promise<T> {
    await this.#restored;
    let onLost: (failure: PageFailure) => void = () => undefined;
    const lost = new Promise<never>((_, reject) => {
      onLost = reject;
    });
    this.#guards.add(onLost);
    try {
      return await Promise.race([work(), lost]);
    } catch (error) {
      if (hasKind(error)) throw error;
      const grace = new Promise<void>((resolve) => setTimeout(resolve, LOSS_GRACE_MS));
      await Promise.race([lost, grace]);
      throw error;
    } finally {
      this.#guards.delete(onLost);
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#device?.destroy();
  }

  async #restore(failure: PageFailure): Promise<void> {
    this.#listener.lost(failure.message);
    let last: unknown = null;
    // The browser may need a moment to start its GPU process again.
    for (let attempt = 0; attempt < REOPEN_ATTEMPTS; attempt += 1) {
      try {
        const { device } = await this.open();
        await this.#listener.restored(device);
        return;
      } catch (error) {
        last = error;
        await new Promise((resolve) => setTimeout(resolve, REOPEN_PAUSE_MS));
      }
    }
    this.#listener.failed(
      new PageFailure("unavailable", `${failure.message}; no other could be had: ${describe(last)}`),
    );
  }
}
