// SPDX-License-Identifier: Apache-2.0
// Tensors to what a plan keeps on the device, 4 bytes an element, and back.
import { PageFailure } from "../../../accelerate-browser/page/src/wire/errors";
import type { HostTensor } from "../../../accelerate-browser/page/src/wire/tensor";
import type { Stored } from "./format";

type Bytes = Uint8Array<ArrayBuffer>;
type Numbers =
  Float32Array | Int32Array | Uint32Array | Int8Array | Uint8Array | Int16Array | Uint16Array | Float64Array;
type View = new (buffer: ArrayBuffer, offset?: number, length?: number) => Numbers;

const STORED: Readonly<Record<Stored, View>> = { f32: Float32Array, i32: Int32Array, u32: Uint32Array };
const VIEWS: Readonly<Record<string, View>> = {
  float32: Float32Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int8: Int8Array,
  uint8: Uint8Array,
  bool: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  float64: Float64Array,
};
const NATURAL: Readonly<Record<string, Stored>> = { float32: "f32", int32: "i32", uint32: "u32" };

/** Return the bytes to write for a tensor; int64 has to fit 32 bits. */
export function toDevice({ dtype, data }: HostTensor, stored: Stored, name: string): Bytes {
  if (NATURAL[dtype] === stored) return data;
  if (dtype === "int64") return narrowed(data, name);
  const from = view(dtype, data);
  const to = new STORED[stored](new ArrayBuffer(from.length * 4));
  to.set(from);
  return bytesOf(to);
}

/** Return a tensor's bytes from what was read of the device; the bytes given are used up. */
export function fromDevice(data: Bytes, stored: Stored, dtype: string): Bytes {
  if (NATURAL[dtype] === stored) return data;
  const from = new STORED[stored](data.buffer, data.byteOffset, data.length / 4);
  if (dtype === "int64") return widened(from);
  const bytes = new Uint8Array(from.length * view(dtype, new Uint8Array()).BYTES_PER_ELEMENT);
  // What is not 0 is true, 256 too.
  view(dtype, bytes).set(dtype === "bool" ? from.map((value) => Number(value !== 0)) : from);
  return bytes;
}

function narrowed(data: Bytes, name: string): Bytes {
  const halves = new Int32Array(data.buffer, data.byteOffset, data.length / 4);
  const values = new Int32Array(halves.length / 2);
  for (let i = 0; i < values.length; i += 1) {
    const low = halves[2 * i] ?? 0;
    // A number fits when its upper half only repeats its sign.
    if (halves[2 * i + 1] !== low >> 31)
      throw new PageFailure("model", `input ${name} has a value at ${i} that does not fit 32 bits`);
    values[i] = low;
  }
  return bytesOf(values);
}

function widened(values: Numbers): Bytes {
  const halves = new Int32Array(values.length * 2);
  values.forEach((value, i) => {
    halves[2 * i] = value;
    halves[2 * i + 1] = value >> 31;
  });
  return bytesOf(halves);
}

function view(dtype: string, data: Bytes): Numbers {
  const View = VIEWS[dtype];
  if (View === undefined) throw new PageFailure("unsupported", `plans take no tensors of ${dtype}`);
  return new View(data.buffer, data.byteOffset, data.length / new View(new ArrayBuffer(0)).BYTES_PER_ELEMENT);
}

function bytesOf(numbers: Numbers): Bytes {
  return new Uint8Array(numbers.buffer as ArrayBuffer, numbers.byteOffset, numbers.byteLength);
}
