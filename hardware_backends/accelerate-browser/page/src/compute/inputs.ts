// SPDX-License-Identifier: Apache-2.0
// What a model declares of its inputs, and tensors held against it.
import type { Load } from "../generated/messages";
import { PageFailure } from "../wire/errors";
import { tensorBytes, type HostTensor } from "../wire/tensor";

export interface Declared {
  name: string;
  dtype: string;
  shape: readonly (number | string)[];
}

/** Return a Load's inputs or outputs, typed. */
export function declared(items: Load["inputs"]): Declared[] {
  return items as unknown as Declared[];
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
