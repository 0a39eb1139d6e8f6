// SPDX-License-Identifier: Apache-2.0
import {
  CHUNK_BYTES,
  HEADER_BYTES,
  INLINE_BYTES,
  MAX_STREAMS,
  type FromPage,
  type TensorHeader,
} from "../generated/messages";
import { aligned, encodeChunk, encodeMessage, FrameError, POLICY_VIOLATION } from "./frames";
import type { NamedRef, NamedTensor } from "./tensor";
import { tensorBytes } from "./tensor";

/** What a WebSocket offers that sending needs. */
export interface Channel {
  send(data: Uint8Array<ArrayBuffer>): void;
  readonly bufferedAmount: number;
  readonly isOpen: boolean;
  /** Bytes to hand over before waiting for the network; more where waiting is slow. */
  readonly highWater: number;
  /** Resolve after a moment, so that the network can take bytes and other messages can go. */
  pause(): Promise<void>;
}

interface Stream {
  stream: number;
  data: Uint8Array;
}

interface Bulk {
  frame: Uint8Array<ArrayBuffer>;
  streams: Stream[];
}

/** Sends messages: small ones at once, the chunks of large ones one after another between them. */
export class Outbox {
  readonly #channel: Channel;
  readonly #bulk: (() => Bulk)[] = [];
  // The WebSocket copies what it is given, so one buffer serves all full chunks.
  readonly #chunk = new Uint8Array(HEADER_BYTES + CHUNK_BYTES);
  #lastStream = 0;
  #isPumping = false;

  constructor(channel: Channel) {
    this.#channel = channel;
  }

  /** Send a message with its tensors. Refs are announced, tensors follow inline or in chunks. */
  send(message: FromPage, tensors: readonly (NamedTensor | NamedRef)[] = []): void {
    const total = tensors.reduce(
      (sum, tensor) => sum + ("data" in tensor ? aligned(tensor.data.length) : 0),
      0,
    );
    if (total <= INLINE_BYTES) {
      if (this.#channel.isOpen) this.#channel.send(this.#pack(message, tensors, false).frame);
      return;
    }
    // Packed when its turn comes: streams are numbered in the order they are announced.
    this.#bulk.push(() => this.#pack(message, tensors, true));
    if (!this.#isPumping) void this.#pump();
  }

  #pack(message: FromPage, tensors: readonly (NamedTensor | NamedRef)[], isLarge: boolean): Bulk {
    const inline: Uint8Array[] = [];
    const streams: Stream[] = [];
    let offset = 0;
    const headers = tensors.map((tensor): TensorHeader => {
      const { name, dtype, shape } = tensor;
      const header = { name, dtype, shape, size_bytes: tensorBytes(dtype, shape) ?? 0 };
      if ("ref" in tensor) return { ...header, ref: tensor.ref };
      if (isLarge && tensor.data.length > 0) {
        this.#lastStream += 1;
        streams.push({ stream: this.#lastStream, data: tensor.data });
        return { ...header, stream: this.#lastStream };
      }
      inline.push(tensor.data);
      const start = offset;
      offset = start + aligned(tensor.data.length);
      return { ...header, offset: start };
    });
    if (streams.length > MAX_STREAMS)
      throw new FrameError(`${streams.length} tensors in one message`, POLICY_VIOLATION);
    const json = JSON.stringify(headers.length > 0 ? { ...message, tensors: headers } : message);
    return { frame: encodeMessage(json, inline), streams };
  }

  async #pump(): Promise<void> {
    this.#isPumping = true;
    try {
      for (
        let next = this.#bulk.shift();
        next !== undefined && this.#channel.isOpen;
        next = this.#bulk.shift()
      ) {
        const { frame, streams } = next();
        this.#channel.send(frame);
        for (const stream of streams) await this.#stream(stream);
      }
    } finally {
      this.#isPumping = false;
    }
  }

  async #stream({ stream, data }: Stream): Promise<void> {
    for (let offset = 0; offset < data.length; offset += CHUNK_BYTES) {
      while (this.#channel.bufferedAmount > this.#channel.highWater) {
        await this.#channel.pause();
        if (!this.#channel.isOpen) return;
      }
      const part = data.subarray(offset, offset + CHUNK_BYTES);
      const frame = this.#chunk.subarray(0, HEADER_BYTES + part.length);
      encodeChunk(frame, stream, offset, part, offset + part.length >= data.length);
      this.#channel.send(frame);
    }
  }
}
