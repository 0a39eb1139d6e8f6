// SPDX-License-Identifier: Apache-2.0
import type { Tensor } from "onnxruntime-web";
import { PageFailure } from "../wire/errors";
import { ELEMENT_BYTES, type HostTensor } from "../wire/tensor";
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
