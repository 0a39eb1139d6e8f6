// SPDX-License-Identifier: Apache-2.0
import { PageFailure } from "../../../accelerate-browser/page/src/wire/errors";

// The most a query set holds (WebGPU specification, 20.1).
const SET_QUERIES = 4096;
const QUERY_BYTES = 8;

/** Times every pass of a run on the device. */
export class Stopwatch {
  /** What the times need of a readback. */
  readonly bytes: number;
  readonly #sets: GPUQuerySet[] = [];
  readonly #resolved: GPUBuffer;

  constructor(device: GPUDevice, passes: number) {
    if (!device.features.has("timestamp-query"))
      throw new PageFailure(
        "unsupported",
        "kernels cannot be timed here: the adapter has no timestamp-query",
      );
    const queries = 2 * passes;
    for (let left = queries; left > 0; left -= SET_QUERIES)
      this.#sets.push(device.createQuerySet({ type: "timestamp", count: Math.min(left, SET_QUERIES) }));
    this.bytes = queries * QUERY_BYTES;
    this.#resolved = device.createBuffer({
      size: Math.max(QUERY_BYTES, this.bytes),
      usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
    });
  }

  /** Return what times the pass with this number. */
  writes(pass: number): GPUComputePassTimestampWrites {
    const query = 2 * pass;
    const querySet = this.#sets[Math.floor(query / SET_QUERIES)];
    if (querySet === undefined) throw new RangeError(`pass ${pass} is not timed`);
    const beginningOfPassWriteIndex = query % SET_QUERIES;
    return { querySet, beginningOfPassWriteIndex, endOfPassWriteIndex: beginningOfPassWriteIndex + 1 };
  }

  /** Put the times of all passes at an offset of a readback. */
  resolve(encoder: GPUCommandEncoder, readback: GPUBuffer, offset: number): void {
    for (const [i, set] of this.#sets.entries())
      encoder.resolveQuerySet(set, 0, set.count, this.#resolved, i * SET_QUERIES * QUERY_BYTES);
    encoder.copyBufferToBuffer(this.#resolved, 0, readback, offset, this.bytes);
  }

  /** Return the milliseconds of each pass from the bytes that were read back. */
  read(bytes: Uint8Array<ArrayBuffer>): number[] {
    const stamps = new BigUint64Array(bytes.buffer, bytes.byteOffset, bytes.length / QUERY_BYTES);
    return Array.from({ length: stamps.length / 2 }, (_, i) => {
      const begin = stamps[2 * i] ?? 0n;
      const end = stamps[2 * i + 1] ?? 0n;
      // A browser may round both, or reset its clock between them.
      return end > begin ? Number(end - begin) / 1e6 : 0;
    });
  }

  destroy(): void {
    for (const set of this.#sets) set.destroy();
    this.#resolved.destroy();
  }
}
