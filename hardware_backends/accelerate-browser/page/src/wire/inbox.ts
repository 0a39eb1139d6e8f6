// SPDX-License-Identifier: Apache-2.0
import { ALIGNMENT, FIELDS, MAX_TENSOR_BYTES, type FromHost, type TensorHeader } from "../generated/messages";
import { Assembler, decodeFrame, FrameError, type ChunkFrame, type MessageFrame } from "./frames";
import { tensorBytes, type NamedRef, type NamedTensor } from "./tensor";

export type Received = NamedTensor | NamedRef;

/** A message of the host with the tensors it announced, all of them here. */
export interface Delivery {
  message: FromHost;
  tensors: Received[];
}

const FROM_HOST: ReadonlySet<string> = new Set<FromHost["type"]>([
  "Welcome",
  "Ping",
  "Load",
  "Run",
  "Fetch",
  "Release",
  "Unload",
  "Cancel",
  "Renew",
  "Reopen",
  "Echo",
  "Bye",
]);

interface Waiting {
  delivery: Delivery;
  missing: number;
}

/** Turns frames into complete messages. A complete message may overtake one that still waits. */
export class Inbox {
  readonly #assembler = new Assembler();
  readonly #waiting = new Map<number, { waiting: Waiting; tensor: NamedTensor }>();

  /** Take a frame; the message it completes, if it does. FrameError closes the connection. */
  accept(buffer: ArrayBuffer): Delivery | null {
    const frame = decodeFrame(buffer);
    return frame.kind === "message" ? this.#message(frame) : this.#chunk(frame);
  }

  #message(frame: MessageFrame): Delivery | null {
    const message = parse(frame.json);
    if (message.type !== "Run" && message.type !== "Echo") {
      if (frame.inline.length > 0) throw new FrameError(`${message.type} carries no tensors`);
      return { message, tensors: [] };
    }
    const waiting: Waiting = { delivery: { message, tensors: [] }, missing: 0 };
    for (const header of message.tensors) {
      checkHeader(header, frame.inline.length);
      const { name, dtype, shape } = header;
      if (typeof header.ref === "string") {
        waiting.delivery.tensors.push({ name, dtype, shape, ref: header.ref });
        continue;
      }
      const tensor: NamedTensor = { name, dtype, shape, data: new Uint8Array() };
      if (typeof header.offset === "number") {
        tensor.data = frame.inline.subarray(header.offset, header.offset + header.size_bytes);
      } else if (typeof header.stream === "number") {
        this.#assembler.announce(header.stream, header.size_bytes);
        this.#waiting.set(header.stream, { waiting, tensor });
        waiting.missing += 1;
      }
      waiting.delivery.tensors.push(tensor);
    }
    return waiting.missing === 0 ? waiting.delivery : null;
  }

  #chunk(frame: ChunkFrame): Delivery | null {
    const bytes = this.#assembler.accept(frame);
    const entry = this.#waiting.get(frame.stream);
    if (bytes === null || entry === undefined) return null;
    this.#waiting.delete(frame.stream);
    entry.tensor.data = bytes;
    entry.waiting.missing -= 1;
    return entry.waiting.missing === 0 ? entry.waiting.delivery : null;
  }
}

/** Read a host message's JSON; FrameError for unknown types and fields. */
export function parse(json: string): FromHost {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    throw new FrameError("a message that is not JSON");
  }
  if (typeof value !== "object" || value === null || !("type" in value))
    throw new FrameError("a message without a type");
  const type = String(value.type);
  if (!FROM_HOST.has(type)) throw new FrameError(`unknown message ${type.slice(0, 40)}`);
  checkFields(type, value);
  const nested =
    "tensors" in value
      ? ["TensorHeader", value.tensors]
      : "assets" in value
        ? ["AssetHeader", value.assets]
        : [];
  const [kind, items] = nested;
  if (typeof kind === "string") {
    if (!Array.isArray(items)) throw new FrameError(`${type}: expected a list of ${kind}`);
    for (const item of items) checkFields(kind, item);
  }
  return value as FromHost;
}

function checkFields(kind: string, value: unknown): void {
  const fields = FIELDS[kind];
  if (fields === undefined || typeof value !== "object" || value === null)
    throw new FrameError(`malformed ${kind}`);
  const [required, optional] = fields;
  for (const name of required) {
    if (!Object.hasOwn(value, name)) throw new FrameError(`${kind} lacks ${name}`);
  }
  for (const name of Object.keys(value)) {
    if (name !== "type" && !required.includes(name) && !optional.includes(name)) {
      throw new FrameError(`${kind} has no field ${name.slice(0, 40)}`);
    }
  }
}

function checkHeader(header: TensorHeader, inlineBytes: number): void {
  const { name, dtype, shape, size_bytes: size, offset, stream, ref } = header;
  const places = [offset, stream, ref].filter((place) => place !== undefined && place !== null);
  if (places.length !== 1) throw new FrameError(`tensor ${name} is not in exactly one place`);
  if (!Array.isArray(shape) || tensorBytes(dtype, shape as number[]) !== size) {
    throw new FrameError(`tensor ${name}: size, shape and dtype disagree`);
  }
  if (size > MAX_TENSOR_BYTES) throw new FrameError(`tensor ${name} of ${size} bytes`);
  if (
    typeof offset === "number" &&
    !(offset >= 0 && offset % ALIGNMENT === 0 && offset + size <= inlineBytes)
  ) {
    throw new FrameError(`tensor ${name} lies outside its message`);
  }
}
