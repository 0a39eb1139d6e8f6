// SPDX-License-Identifier: Apache-2.0

/** A tensor on the CPU: raw little-endian bytes in C order. `dtype` is a numpy name. */
export interface HostTensor {
  dtype: string;
  shape: readonly number[];
  data: Uint8Array<ArrayBuffer>;
}

export interface NamedTensor extends HostTensor {
  name: string;
}

/** A tensor that stays on the page. */
export interface NamedRef {
  name: string;
  dtype: string;
  shape: readonly number[];
  ref: string;
}

/** Bytes per element of every dtype that may cross the bridge. */
export const ELEMENT_BYTES: Readonly<Record<string, number>> = {
  bool: 1,
  int8: 1,
  uint8: 1,
  int16: 2,
  uint16: 2,
  float16: 2,
  int32: 4,
  uint32: 4,
  float32: 4,
  int64: 8,
  uint64: 8,
  float64: 8,
};

/** Return the size of a tensor in bytes, or null for an unknown dtype or an impossible shape. */
export function tensorBytes(dtype: string, shape: readonly number[]): number | null {
  const element = ELEMENT_BYTES[dtype];
  if (element === undefined || !shape.every((extent) => Number.isSafeInteger(extent) && extent >= 0))
    return null;
  return shape.reduce((product, extent) => product * extent, element);
}

/** Return the distinct buffers of tensors, to be transferred with them. */
export function buffersOf(tensors: readonly object[]): ArrayBuffer[] {
  const buffers = new Set<ArrayBuffer>();
  for (const tensor of tensors) {
    if ("data" in tensor && tensor.data instanceof Uint8Array) buffers.add(tensor.data.buffer as ArrayBuffer);
  }
  return [...buffers];
}
