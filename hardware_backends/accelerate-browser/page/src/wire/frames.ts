// SPDX-License-Identifier: Apache-2.0
// The frame codec of accelerate_browser/frames.py, byte for byte.
import {
  ALIGNMENT,
  FLAG_LAST,
  HEADER_BYTES,
  KIND_CHUNK,
  KIND_MESSAGE,
  MAGIC,
  MAX_FRAME_BYTES,
  MAX_JSON_BYTES,
  MAX_STREAMS,
  MAX_TENSOR_BYTES,
  VERSION,
} from "../generated/messages";

export const PROTOCOL_ERROR = 1002;
export const POLICY_VIOLATION = 1008;
export const TOO_BIG = 1009;

/** Says why a connection must be closed. */
export class FrameError extends Error {
  constructor(
    message: string,
    readonly code: number = PROTOCOL_ERROR,
  ) {
    super(message);
    this.name = "FrameError";
  }
}

export interface MessageFrame {
  kind: "message";
  json: string;
  inline: Uint8Array<ArrayBuffer>;
}

export interface ChunkFrame {
  kind: "chunk";
  stream: number;
  offset: number;
  isLast: boolean;
  data: Uint8Array<ArrayBuffer>;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

/** Return `size` rounded up to the alignment of tensors. */
export function aligned(size: number): number {
  return Math.ceil(size / ALIGNMENT) * ALIGNMENT;
}

/** Return a message frame; each inline part starts aligned, in the order given. */
export function encodeMessage(json: string, inline: readonly Uint8Array[] = []): Uint8Array<ArrayBuffer> {
  const text = encoder.encode(json);
  if (text.length > MAX_JSON_BYTES) throw new FrameError(`a message of ${text.length} bytes`, TOO_BIG);
  const start = HEADER_BYTES + aligned(text.length);
  let size = 0;
  for (const part of inline) size = aligned(size) + part.length;
  if (start + size > MAX_FRAME_BYTES) throw new FrameError(`a frame of ${start + size} bytes`, TOO_BIG);
  const frame = new Uint8Array(start + size);
  writeHeader(frame, KIND_MESSAGE, 0, text.length, size);
  frame.set(text, HEADER_BYTES);
  let offset = 0;
  for (const part of inline) {
    offset = aligned(offset);
    frame.set(part, start + offset);
    offset += part.length;
  }
  return frame;
}

/** Write a chunk frame into `into`, which is as long as the frame is. */
export function encodeChunk(
  into: Uint8Array,
  stream: number,
  offset: number,
  data: Uint8Array,
  isLast: boolean,
): void {
  writeHeader(into, KIND_CHUNK, isLast ? FLAG_LAST : 0, stream, offset);
  into.set(data, HEADER_BYTES);
}

/** Read one frame; FrameError for anything this version does not write. Views, no copies. */
export function decodeFrame(buffer: ArrayBuffer): MessageFrame | ChunkFrame {
  const size = buffer.byteLength;
  if (size > MAX_FRAME_BYTES) throw new FrameError(`a frame of ${size} bytes`, TOO_BIG);
  if (size < HEADER_BYTES) throw new FrameError(`a frame of ${size} bytes is shorter than its header`);
  const view = new DataView(buffer);
  if (view.getUint8(0) !== MAGIC || view.getUint8(1) !== VERSION)
    throw new FrameError("not a frame of this version");
  const kind = view.getUint8(2);
  const flags = view.getUint8(3);
  const first = view.getUint32(4, true);
  const second = Number(view.getBigUint64(8, true));
  if (kind === KIND_MESSAGE) return decodeMessage(buffer, flags, first, second);
  if (kind === KIND_CHUNK) return decodeChunk(buffer, flags, first, second);
  throw new FrameError(`unknown frame kind ${kind}`);
}

function writeHeader(frame: Uint8Array, kind: number, flags: number, first: number, second: number): void {
  const view = new DataView(frame.buffer, frame.byteOffset, HEADER_BYTES);
  view.setUint8(0, MAGIC);
  view.setUint8(1, VERSION);
  view.setUint8(2, kind);
  view.setUint8(3, flags);
  view.setUint32(4, first, true);
  view.setBigUint64(8, BigInt(second), true);
}

function decodeMessage(
  buffer: ArrayBuffer,
  flags: number,
  jsonBytes: number,
  inlineBytes: number,
): MessageFrame {
  if (flags !== 0) throw new FrameError(`unknown flags ${flags} on a message`);
  if (jsonBytes > MAX_JSON_BYTES) throw new FrameError(`a message of ${jsonBytes} bytes`, TOO_BIG);
  const start = HEADER_BYTES + aligned(jsonBytes);
  if (start + inlineBytes !== buffer.byteLength) {
    throw new FrameError("a message frame's lengths do not add up to its size");
  }
  const padding = new Uint8Array(buffer, HEADER_BYTES + jsonBytes, start - HEADER_BYTES - jsonBytes);
  if (padding.some((byte) => byte !== 0)) throw new FrameError("padding that is not zero");
  try {
    const json = decoder.decode(new Uint8Array(buffer, HEADER_BYTES, jsonBytes));
    return { kind: "message", json, inline: new Uint8Array(buffer, start, inlineBytes) };
  } catch {
    throw new FrameError("a message that is not UTF-8");
  }
}

function decodeChunk(buffer: ArrayBuffer, flags: number, stream: number, offset: number): ChunkFrame {
  if ((flags & ~FLAG_LAST) !== 0) throw new FrameError(`unknown flags ${flags} on a chunk`);
  if (buffer.byteLength === HEADER_BYTES) throw new FrameError("an empty chunk");
  const data = new Uint8Array(buffer, HEADER_BYTES);
  return { kind: "chunk", stream, offset, isLast: (flags & FLAG_LAST) !== 0, data };
}

/** Puts the chunks of interleaved streams together, each in a buffer allocated once. */
export class Assembler {
  readonly #open = new Map<number, { bytes: Uint8Array<ArrayBuffer>; received: number }>();
  #last = 0;

  /** Expect a stream; FrameError for a number used before or a broken limit. */
  announce(stream: number, sizeBytes: number): void {
    if (!Number.isInteger(stream) || stream <= this.#last || stream > 0xffffffff) {
      throw new FrameError(`stream ${stream} announced after stream ${this.#last}`);
    }
    if (!(sizeBytes > 0 && sizeBytes <= MAX_TENSOR_BYTES))
      throw new FrameError(`a stream of ${sizeBytes} bytes`, TOO_BIG);
    if (this.#open.size >= MAX_STREAMS)
      throw new FrameError(`more than ${MAX_STREAMS} open streams`, POLICY_VIOLATION);
    this.#last = stream;
    this.#open.set(stream, { bytes: new Uint8Array(sizeBytes), received: 0 });
  }

  /** Take a chunk; the stream's bytes when it is complete. FrameError when it does not fit. */
  accept(chunk: ChunkFrame): Uint8Array<ArrayBuffer> | null {
    const open = this.#open.get(chunk.stream);
    if (open === undefined) throw new FrameError(`a chunk of stream ${chunk.stream}, which is not open`);
    if (chunk.offset !== open.received)
      throw new FrameError(`a chunk at ${chunk.offset} where ${open.received} was due`);
    const end = chunk.offset + chunk.data.length;
    if (end > open.bytes.length || chunk.isLast !== (end === open.bytes.length)) {
      throw new FrameError(`stream ${chunk.stream} does not end where it was announced to`);
    }
    open.bytes.set(chunk.data, chunk.offset);
    open.received = end;
    if (!chunk.isLast) return null;
    this.#open.delete(chunk.stream);
    return open.bytes;
  }
}
