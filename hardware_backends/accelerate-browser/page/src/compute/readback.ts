// SPDX-License-Identifier: Apache-2.0
// Firefox polls finished GPU work on a 100 ms timer, so a readback takes 100 ms however small it
// is. A queue that is kept polled answers at once. An error scope is popped when the queue has
// seen it, which paces the loop: flooding the queue without that drowns the GPU process.

/** Whether to poll: "auto" is Firefox only, because it slows other browsers. */
export function wantsReadbackPoll(option: unknown): boolean {
  if (typeof option === "boolean") return option;
  // The one place that looks at the user agent: this is a quirk no feature tells of.
  return /\bFirefox\//.test(navigator.userAgent);
}

/** Poll a device's queue while any of its buffers is being mapped. Works for engines unaware of it. */
export class ReadbackPoll {
  #device: GPUDevice | null = null;
  #mappings = 0;
  #isPolling = false;

  constructor() {
    // eslint-disable-next-line @typescript-eslint/unbound-method -- called with its receiver below
    const mapAsync = GPUBuffer.prototype.mapAsync;
    const begin = this.#begin.bind(this);
    const end = this.#end.bind(this);
    GPUBuffer.prototype.mapAsync = function (this: GPUBuffer, ...args: Parameters<GPUBuffer["mapAsync"]>) {
      const mapping = mapAsync.apply(this, args);
      begin();
      mapping.then(end, end);
      return mapping;
    };
  }

  /** Poll this device's queue from now on. */
  watch(device: GPUDevice): void {
    this.#device = device;
  }

  #begin(): void {
    this.#mappings += 1;
    if (!this.#isPolling) void this.#poll();
  }

  #end(): void {
    this.#mappings -= 1;
  }

  async #poll(): Promise<void> {
    this.#isPolling = true;
    try {
      while (this.#mappings > 0 && this.#device !== null) {
        this.#device.pushErrorScope("internal");
        this.#device.queue.submit([]);
        await this.#device.popErrorScope();
      }
    } catch {
      // The device is lost; its mappings are rejected on their own.
    } finally {
      this.#isPolling = false;
    }
  }
}
