// SPDX-License-Identifier: Apache-2.0

// The most a query set holds (WebGPU specification, 20.1).
const SET_QUERIES = 4096;
const QUERY_BYTES = 8;

/** Times every pass of a run on a device that has `timestamp-query`. */
export class Stopwatch {
  /** What the times need of a readback. */
  readonly bytes: number;
  readonly #sets: GPUQuerySet[] = [];
  readonly #resolved: GPUBuffer;

  constructor(device: GPUDevice, passes: number) {
    for (let left = 2 * passes; left > 0; left -= SET_QUERIES)
      this.#sets.push(device.createQuerySet({ type: "timestamp", count: Math.min(left, SET_QUERIES) }));
    this.bytes = 2 * passes * QUERY_BYTES;
    const usage = GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC;
    this.#resolved = device.createBuffer({ size: this.bytes, usage });
  }

  /** Return what times the pass with this number. */
  writes(pass: number): GPUComputePassTimestampWrites | undefined {
    const query = 2 * pass;
    const querySet = this.#sets[Math.floor(query / SET_QUERIES)];
    const first = query % SET_QUERIES;
    return querySet && { querySet, beginningOfPassWriteIndex: first, endOfPassWriteIndex: first + 1 };
  }

  /** Put the times of all passes at an offset of a readback. */
  resolve(encoder: GPUCommandEncoder, readback: GPUBuffer, offset: number): void {
    for (const [i, set] of this.#sets.entries())
      encoder.resolveQuerySet(set, 0, set.count, this.#resolved, i * SET_QUERIES * QUERY_BYTES);
    encoder.copyBufferToBuffer(this.#resolved, 0, readback, offset, this.bytes);
  }

  /** Return the milliseconds of each pass from the bytes that were read back. */
  read(bytes: Uint8Array<ArrayBuffer>): number[] {
    const stamps = new BigInt64Array(bytes.buffer);
    // A device may reset its clock between two stamps.
    return Array.from({ length: stamps.length / 2 }, (_, i) =>
      Math.max(0, Number((stamps[2 * i + 1] ?? 0n) - (stamps[2 * i] ?? 0n)) / 1e6),
    );
  }

  destroy(): void {
    for (const set of this.#sets) set.destroy();
    this.#resolved.destroy();
  }
}
