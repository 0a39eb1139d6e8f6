// SPDX-License-Identifier: Apache-2.0
import type { Tensor } from "onnxruntime-web";
import type { Load } from "../generated/messages";
import { PageFailure } from "../wire/errors";
import { ELEMENT_BYTES, tensorBytes, type HostTensor } from "../wire/tensor";
import type { OrtModule } from "./ort-load";

type View = new (buffer: ArrayBuffer, offset: number, length: number) => ArrayBufferView;

// onnxruntime-web names its types as numpy does, and takes float16 as its bits.
const VIEWS: Readonly<Record<string, View>> = {
  bool: Uint8Array,
  int8: Int8Array,
  uint8: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  float16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  float32: Float32Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
  float64: Float64Array,
};

export interface Declared {
  name: string;
  dtype: string;
  shape: readonly (number | string)[];
}

/** Return a Load's inputs or outputs, typed. */
export function declared(items: Load["inputs"]): Declared[] {
  return items as unknown as Declared[];
}

/** Wrap bytes as an onnxruntime-web tensor; no copy. */
export function toOrt(ort: OrtModule, tensor: HostTensor): Tensor {
  const View = VIEWS[tensor.dtype];
  const element = ELEMENT_BYTES[tensor.dtype];
  if (View === undefined || element === undefined)
    throw new PageFailure("unsupported", `tensors of ${tensor.dtype}`);
  const { buffer, byteOffset, length } = tensor.data;
  const view = new View(buffer, byteOffset, length / element);
  return new ort.Tensor(tensor.dtype as "float32", view as Float32Array, tensor.shape);
}

/** Return a tensor's bytes on the CPU, and free what it held elsewhere. */
export async function toHost(tensor: Tensor, release: boolean): Promise<HostTensor> {
  const data = tensor.location === "cpu" ? tensor.data : await tensor.getData(release);
  if (!ArrayBuffer.isView(data)) throw new PageFailure("unsupported", `outputs of ${tensor.type}`);
  const bytes = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
  return { dtype: tensor.type, shape: tensor.dims, data: bytes };
}

/** Refuse inputs that are not what the model declares, by a PageFailure of kind "model". */
export function checkInputs(
  inputs: ReadonlyMap<string, { dtype: string; shape: readonly number[] }>,
  wanted: readonly Declared[],
): void {
  const names = wanted.map(({ name }) => name).join(", ");
  for (const name of inputs.keys()) {
    if (!wanted.some((input) => input.name === name)) {
      throw new PageFailure("model", `the model has no input ${name}; its inputs are ${names}`);
    }
  }
  for (const { name, dtype, shape } of wanted) {
    const input = inputs.get(name);
    if (input === undefined)
      throw new PageFailure("model", `input ${name} is missing; the inputs are ${names}`);
    if (input.dtype !== dtype)
      throw new PageFailure("model", `input ${name} is ${input.dtype}, the model takes ${dtype}`);
    const fits =
      input.shape.length === shape.length &&
      shape.every((extent, axis) => typeof extent === "string" || extent === input.shape[axis]);
    if (!fits) {
      throw new PageFailure(
        "model",
        `input ${name} has shape [${input.shape.join(", ")}], the model takes [${shape.join(", ")}]`,
      );
    }
  }
}

/** Return inputs of zeros in the given dimensions; a free one without a value is 1. */
export function zeros(
  inputs: readonly Declared[],
  dimensions: Readonly<Record<string, number>>,
): Map<string, HostTensor> {
  const tensors = new Map<string, HostTensor>();
  for (const { name, dtype, shape } of inputs) {
    const extents = shape.map((extent) => (typeof extent === "string" ? (dimensions[extent] ?? 1) : extent));
    const size = tensorBytes(dtype, extents);
    if (size === null) throw new PageFailure("unsupported", `input ${name} of ${dtype}`);
    tensors.set(name, { dtype, shape: extents, data: new Uint8Array(size) });
  }
  return tensors;
}

/** Return the given dimensions that the inputs have by name. */
export function overridesOf(
  inputs: readonly Declared[],
  dimensions: Readonly<Record<string, number>>,
): Record<string, number> {
  const overrides: Record<string, number> = {};
  for (const extent of inputs.flatMap(({ shape }) => shape)) {
    const value = typeof extent === "string" ? dimensions[extent] : undefined;
    if (typeof extent === "string" && value !== undefined) overrides[extent] = value;
  }
  return overrides;
}
