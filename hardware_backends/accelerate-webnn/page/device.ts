// SPDX-License-Identifier: Apache-2.0
// WebNN takes a wish for a kind of device, gives a context that may run elsewhere, and has no way
// to ask where. What tells devices apart is rounding: two implementations do not agree in every
// bit of long sums, tanh and exp. So a context whose bits equal the CPU's is the CPU.
import { describe, PageFailure } from "/runtime/ort-engine.js";

export const DEVICE_TYPES = ["cpu", "gpu", "npu"] as const;
export type DeviceType = (typeof DEVICE_TYPES)[number];

const ROWS = 32;
const DEPTH = 512;
/** What an fp16 accelerator may err by. */
const TOLERANCE = 2e-2;

/** Return the device types of an option in its order, or null when it names none. */
export function deviceOrder(option: unknown): DeviceType[] | null {
  if (!Array.isArray(option)) return null;
  const order = option.flatMap((name) => DEVICE_TYPES.filter((type) => type === name));
  return order.length > 0 ? order : null;
}

export interface OpenedDevice {
  context: MLContext;
  asked: DeviceType;
  /** Where it really runs: the simplest device that computes the same bits. */
  ran: DeviceType;
  /** What became of each device type that was tried. */
  findings: Record<string, string>;
}

/**
 * Open the first of `order` that runs where it says; where none does, the first that runs at all.
 * PageFailure when WebNN computes nowhere.
 */
export async function openDevice(
  order: readonly DeviceType[],
  powerPreference: string | undefined,
): Promise<OpenedDevice> {
  const ml = (navigator as { ml?: ML }).ml;
  if (ml === undefined)
    throw new PageFailure("unavailable", "This browser has no WebNN (navigator.ml is absent).");
  const findings: Record<string, string> = {};
  const bits = new Map<DeviceType, string>();
  const contexts = new Map<DeviceType, MLContext>();
  // Simpler devices first, whatever the order: the others are recognised by not being them.
  for (const deviceType of DEVICE_TYPES) {
    if (!order.includes(deviceType) && deviceType !== "cpu") continue;
    try {
      const context = await ml.createContext({
        deviceType,
        ...(powerPreference === undefined ? {} : { powerPreference }),
      });
      contexts.set(deviceType, context);
      bits.set(deviceType, await fingerprint(context));
    } catch (error) {
      findings[deviceType] = describe(error);
    }
  }
  const ran = new Map<DeviceType, DeviceType>();
  for (const [asked, own] of bits) {
    const where = DEVICE_TYPES.find((type) => bits.get(type) === own) ?? asked;
    ran.set(asked, where);
    findings[asked] = where === asked ? "runs" : `computes the same bits as ${where}`;
  }
  const running = order.filter((type) => ran.has(type));
  const chosen = running.find((type) => ran.get(type) === type) ?? running[0];
  const context = chosen === undefined ? undefined : contexts.get(chosen);
  for (const [type, other] of contexts) if (type !== chosen) other.destroy();
  if (chosen === undefined || context === undefined) {
    const types = Map.groupBy(order, (type) => findings[type] ?? "?");
    const reasons = [...types].map(([reason, all]) => `${reason} (${all.join(", ")})`).join("; ");
    throw new PageFailure("unavailable", `WebNN has an API here but no device that computes: ${reasons}`);
  }
  return { context, asked: chosen, ran: ran.get(chosen) ?? chosen, findings };
}

/** Compute softmax(tanh(a x b)) on a context, check it, and return its bits. */
async function fingerprint(context: MLContext): Promise<string> {
  const a = Float32Array.from({ length: ROWS * DEPTH }, (_, i) => Math.sin(i * 12.9898) * 0.1);
  const b = Float32Array.from({ length: DEPTH * ROWS }, (_, i) => Math.cos(i * 78.233) * 0.1);
  const builder = new MLGraphBuilder(context);
  const left = builder.input("a", {
    dataType: "float32",
    shape: [ROWS, DEPTH],
  });
  const right = builder.input("b", {
    dataType: "float32",
    shape: [DEPTH, ROWS],
  });
  const graph = await builder.build({
    y: builder.softmax(builder.tanh(builder.matmul(left, right)), 1),
  });
  const tensors: Record<string, MLTensor> = {};
  try {
    tensors["a"] = await context.createTensor({
      dataType: "float32",
      shape: [ROWS, DEPTH],
      writable: true,
    });
    tensors["b"] = await context.createTensor({
      dataType: "float32",
      shape: [DEPTH, ROWS],
      writable: true,
    });
    tensors["y"] = await context.createTensor({
      dataType: "float32",
      shape: [ROWS, ROWS],
      readable: true,
    });
    context.writeTensor(tensors["a"], a);
    context.writeTensor(tensors["b"], b);
    context.dispatch(graph, { a: tensors["a"], b: tensors["b"] }, { y: tensors["y"] });
    const result = await context.readTensor(tensors["y"]);
    check(new Float32Array(result), expected(a, b));
    return new Uint32Array(result).join();
  } finally {
    for (const tensor of Object.values(tensors)) tensor.destroy();
    graph.destroy();
  }
}

/** Return softmax(tanh(a x b)) over rows, in double precision. */
export function expected(a: Float32Array, b: Float32Array): Float64Array {
  const result = new Float64Array(ROWS * ROWS);
  for (let row = 0; row < ROWS; row += 1) {
    let sum = 0;
    for (let column = 0; column < ROWS; column += 1) {
      let dot = 0;
      for (let k = 0; k < DEPTH; k += 1) dot += (a[row * DEPTH + k] ?? 0) * (b[k * ROWS + column] ?? 0);
      const value = Math.exp(Math.tanh(dot));
      result[row * ROWS + column] = value;
      sum += value;
    }
    for (let column = 0; column < ROWS; column += 1)
      result[row * ROWS + column] = (result[row * ROWS + column] ?? 0) / sum;
  }
  return result;
}

function check(values: Float32Array, wanted: Float64Array): void {
  let error = 0;
  let norm = 0;
  values.forEach((value, i) => {
    error += (value - (wanted[i] ?? 0)) ** 2;
    norm += (wanted[i] ?? 0) ** 2;
  });
  const relative = Math.sqrt(error / norm);
  if (!(relative < TOLERANCE))
    throw new Error(`it computes wrongly: relative error ${relative.toPrecision(3)}`);
}
