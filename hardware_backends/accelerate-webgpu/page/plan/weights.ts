// SPDX-License-Identifier: Apache-2.0
import type { PlanBuffer } from "./format";
import { checked } from "./kernels";

interface Shared {
  buffers: Promise<GPUBuffer[]>;
  users: number;
}

/** Buffers of weights, shared by all plans of the page that name the same file. */
export class Weights {
  readonly #device: GPUDevice;
  readonly #files = new Map<string, Shared>();

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** Return the parts of a file as buffers, which `bytes` fills when no plan has them. */
  acquire(key: string, parts: readonly PlanBuffer[], bytes: () => Promise<Uint8Array>): Promise<GPUBuffer[]> {
    let shared = this.#files.get(key);
    if (shared === undefined) {
      shared = { buffers: this.#upload(parts, bytes), users: 0 };
      this.#files.set(key, shared);
      shared.buffers.catch(() => this.#files.delete(key));
    }
    shared.users += 1;
    return shared.buffers;
  }

  /** Let go of what was acquired; the last one frees it. */
  async release(key: string): Promise<void> {
    const shared = this.#files.get(key);
    if (shared === undefined) return;
    shared.users -= 1;
    if (shared.users > 0) return;
    this.#files.delete(key);
    for (const buffer of await shared.buffers) buffer.destroy();
  }

  async #upload(parts: readonly PlanBuffer[], bytes: () => Promise<Uint8Array>): Promise<GPUBuffer[]> {
    const file = await bytes();
    return checked(this.#device, "weights", () =>
      parts.map(({ size, offset }) => filled(this.#device, size, file.subarray(offset, offset + size))),
    );
  }
}

/** Return a buffer for kernels with these bytes in it. */
export function filled(device: GPUDevice, size: number, bytes: Uint8Array, usage = 0): GPUBuffer {
  const buffer = device.createBuffer({
    size,
    usage: GPUBufferUsage.STORAGE | usage,
    mappedAtCreation: true,
  });
  new Uint8Array(buffer.getMappedRange()).set(bytes);
  buffer.unmap();
  return buffer;
}
