// SPDX-License-Identifier: Apache-2.0
// onnxruntime-web called by hand, with the same build, device and thread count as the engines.
import { openDevice, usePoll } from "./gpu.js";

const VIEWS = { float32: Float32Array, int64: BigInt64Array };

let ort = null;
let session = null;
let inputs = [];

async function providers(backend, options) {
  if (backend === "wasm") return ["wasm"];
  if (backend === "webgpu") return [{ name: "webgpu", device: await openDevice() }];
  const context = await navigator.ml.createContext({ deviceType: options.deviceType });
  return [{ name: "webnn", context, deviceType: options.deviceType }];
}

async function load({ backend, bundle, folder, threads, model, external, dimensions, poll, ...options }) {
  const base = new URL(folder, location.origin).href;
  ort = await import(`${base}ort.${bundle}.min.mjs`);
  ort.env.wasm.wasmPaths = base;
  ort.env.wasm.numThreads = threads;
  if (backend === "webgpu") await usePoll(poll);
  const bytes = async (url) => new Uint8Array(await (await fetch(url)).arrayBuffer());
  session = await ort.InferenceSession.create(await bytes(model), {
    executionProviders: await providers(backend, options),
    externalData: await Promise.all(external.map(async ({ path, url }) => ({ path, data: await bytes(url) }))),
    ...(dimensions === null ? {} : { freeDimensionOverrides: dimensions }),
  });
  inputs = options.inputs.map(({ name, dtype, shape, values }) => {
    const data = dtype === "int64" ? values.map(BigInt) : values;
    return { name, dtype, shape, data: VIEWS[dtype].from(data) };
  });
  return { version: ort.env.versions.web };
}

/** Run once; the milliseconds from inputs to outputs on the CPU. */
async function run() {
  const startedAt = performance.now();
  const feeds = {};
  for (const { name, dtype, shape, data } of inputs) feeds[name] = new ort.Tensor(dtype, data, shape);
  const outputs = Object.values(await session.run(feeds));
  for (const tensor of outputs) if (tensor.location !== "cpu") await tensor.getData(true);
  return performance.now() - startedAt;
}

/** Run once and return the first output. */
async function outputs() {
  const feeds = {};
  for (const { name, dtype, shape, data } of inputs) feeds[name] = new ort.Tensor(dtype, data, shape);
  const [tensor] = Object.values(await session.run(feeds));
  return Array.from(await tensor.getData());
}

export const commands = { load, run, outputs };
