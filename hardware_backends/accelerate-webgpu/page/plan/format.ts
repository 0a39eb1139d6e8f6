// SPDX-License-Identifier: Apache-2.0
// The plan file, as docs/plan.md describes it. Whoever fetched the file has verified its hash.
import { PageFailure } from "../../../accelerate-browser/page/src/wire/errors";

const MAGIC = "ACPLAN01";
const VERSION = 1;
const HEADER_AT = MAGIC.length + 32 + 4;

/** A part of a buffer, in bytes. */
export interface Slice {
  buffer: number;
  offset: number;
  size: number;
}

export interface PlanBuffer {
  role: "arena" | "weights" | "constants" | "spare";
  size: number;
  /** Of its first bytes: in the weights file, or for constants in the data section. */
  offset: number;
}

export interface PlanPipeline {
  name: string;
  source: string;
  /** Access of the storage bindings 1, 2, ...; 0 is the uniform. */
  bindings: readonly ("read" | "read_write")[];
  constants: Readonly<Record<string, number>>;
  features: readonly string[];
}

export interface Dispatch {
  pipeline: number;
  /** Offset and size in the params, the first bytes of the data section. */
  params: readonly [number, number];
  bindings: readonly Slice[];
  grid: readonly [number, number, number];
  label: string;
  flops: number;
}

export type Stored = "f32" | "i32" | "u32";

/** Where an input is written, or an output read. */
export interface Slot {
  name: string;
  dtype: string;
  shape: readonly number[];
  stored: Stored;
  place: Slice;
}

export interface Plan {
  name: string;
  inputs: readonly Slot[];
  outputs: readonly Slot[];
  buffers: readonly PlanBuffer[];
  pipelines: readonly PlanPipeline[];
  dispatches: readonly Dispatch[];
  params_bytes: number;
  weights_bytes: number;
  weights_sha256: string | null;
  /** Params, then constants. */
  data: Uint8Array<ArrayBuffer>;
}

/** Read a plan file; PageFailure of kind "model" for anything else. */
export function readPlan(file: Uint8Array<ArrayBuffer>): Plan {
  const magic = new TextDecoder("latin1").decode(file.subarray(0, MAGIC.length));
  if (magic !== MAGIC) {
    const isOther = magic.startsWith(MAGIC.slice(0, -2));
    throw new PageFailure(
      "model",
      isOther ? `the plan's format is ${magic}, not ${MAGIC}` : "this is no plan",
    );
  }
  if (file.length < HEADER_AT) throw new PageFailure("model", "the plan is cut off");
  const size = new DataView(file.buffer, file.byteOffset).getUint32(HEADER_AT - 4, true);
  if (HEADER_AT + size > file.length) throw new PageFailure("model", "the plan is cut off");
  const { version, ...plan } = parse(file.subarray(HEADER_AT, HEADER_AT + size));
  if (version !== VERSION) throw new PageFailure("model", `the plan's version is ${version}, not ${VERSION}`);
  return { ...plan, data: file.subarray(HEADER_AT + size) };
}

function parse(header: Uint8Array): Omit<Plan, "data"> & { version: number } {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(header)) as Omit<Plan, "data"> & {
      version: number;
    };
  } catch (error) {
    throw new PageFailure("model", "the plan's header cannot be read", { cause: error });
  }
}

/** Refuse a plan that was compiled for a device that can do more than this one. */
export function checkDevice(plan: Plan, device: GPUDevice): void {
  const needs = new Set(plan.pipelines.flatMap(({ features }) => features));
  for (const feature of needs) {
    if (!device.features.has(feature)) refuse(`it needs the feature ${feature}`);
  }
  const { maxBufferSize, maxStorageBufferBindingSize } = device.limits;
  for (const { size } of plan.buffers) {
    if (size > maxBufferSize) refuse(`it has a buffer of ${size} bytes, ${maxBufferSize} are allowed`);
  }
  for (const { size } of plan.dispatches.flatMap(({ bindings }) => bindings)) {
    if (size > maxStorageBufferBindingSize)
      refuse(`it binds ${size} bytes, ${maxStorageBufferBindingSize} are allowed`);
  }
}

function refuse(why: string): never {
  throw new PageFailure("unsupported", `the plan was compiled for another adapter: ${why}`);
}
