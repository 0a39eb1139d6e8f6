// SPDX-License-Identifier: Apache-2.0
import type { PlanBuffer } from "./format";
import { checked } from "./kernels";

export interface Lease {
  buffers: readonly GPUBuffer[];
  /** Let go of them; the last one frees them. */
  release(): void;
}

interface Shared {
  buffers: Promise<GPUBuffer[]>;
  users: number;
}

/** Buffers of weights, shared by all plans of the page that split the same file the same way. */
export class Weights {
  readonly #device: GPUDevice;
  readonly #files = new Map<string, Shared>();

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** Return the parts of a file as buffers, which `bytes` fills when no plan has them. */
  async acquire(
    sha256: string,
    parts: readonly PlanBuffer[],
    bytes: () => Promise<Uint8Array>,
  ): Promise<Lease> {
    const key = JSON.stringify([sha256, parts]);
    const shared = this.#files.get(key) ?? { buffers: this.#upload(key, parts, bytes), users: 0 };
    this.#files.set(key, shared);
    shared.users += 1;
    const buffers = await shared.buffers;
    const release = () => {
      shared.users -= 1;
      if (shared.users > 0) return;
      this.#files.delete(key);
      for (const buffer of buffers) buffer.destroy();
    };
    return { buffers, release };
  }

  async #upload(
    key: string,
    parts: readonly PlanBuffer[],
    bytes: () => Promise<Uint8Array>,
  ): Promise<GPUBuffer[]> {
    try {
      const file = await bytes();
      return await checked(this.#device, "weights", () =>
        parts.map(({ size, offset }) => filled(this.#device, size, file.subarray(offset, offset + size))),
      );
    } catch (error) {
      this.#files.delete(key);
      throw error;
    }
  }
}

/** Return a buffer for kernels with these bytes in it. */
export function filled(device: GPUDevice, size: number, bytes: Uint8Array, usage = 0): GPUBuffer {
  const buffer = device.createBuffer({ size, usage: GPUBufferUsage.STORAGE | usage, mappedAtCreation: true });
  new Uint8Array(buffer.getMappedRange()).set(bytes);
  buffer.unmap();
  return buffer;
}
