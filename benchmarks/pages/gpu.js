// SPDX-License-Identifier: Apache-2.0
// One GPUDevice, as the page runtime asks for it; and the page runtime's own readback poll, which
// can be taken away and put back here.
let device = null;
let poll = null;
const plainMapAsync = globalThis.GPUBuffer?.prototype.mapAsync;
let polledMapAsync = plainMapAsync;

export async function openDevice() {
  if (device !== null) return device;
  const adapter = await navigator.gpu.requestAdapter();
  const requiredLimits = {};
  for (const name in adapter.limits) {
    if (typeof adapter.limits[name] === "number") requiredLimits[name] = adapter.limits[name];
  }
  device = await adapter.requestDevice({ requiredFeatures: [...adapter.features], requiredLimits });
  poll?.watch(device);
  return device;
}

/** Use the page runtime's readback poll from now on, or do without it. */
export async function usePoll(isOn) {
  if (isOn && poll === null) {
    const { ReadbackPoll } = await import("/pages/readback.js");
    poll = new ReadbackPoll();
    polledMapAsync = GPUBuffer.prototype.mapAsync;
    if (device !== null) poll.watch(device);
  }
  GPUBuffer.prototype.mapAsync = isOn ? polledMapAsync : plainMapAsync;
}

// Each invocation does `turns` dependent multiplications, so that no compiler removes them.
const SHADER = `
@group(0) @binding(0) var<storage, read_write> values: array<f32>;
override turns: u32 = 1;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  var value = values[id.x];
  for (var i = 0u; i < turns; i++) { value = fract(value * 1.7 + 0.3); }
  values[id.x] = value;
}`;
const GROUPS = 64;
const BYTES = GROUPS * 64 * 4;

let work = null;

/** Make a dispatch of `turns` steps per invocation. */
async function prepare({ turns }) {
  const gpu = await openDevice();
  const module = gpu.createShaderModule({ code: SHADER });
  const pipeline = await gpu.createComputePipelineAsync({ layout: "auto", compute: { module, constants: { turns } } });
  const { STORAGE, COPY_SRC, COPY_DST, MAP_READ, QUERY_RESOLVE } = GPUBufferUsage;
  const buffer = (size, usage) => gpu.createBuffer({ size, usage });
  const values = buffer(BYTES, STORAGE | COPY_SRC);
  const entries = [{ binding: 0, resource: { buffer: values } }];
  work = {
    pipeline,
    values,
    group: gpu.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }),
    readback: buffer(BYTES + 16, COPY_DST | MAP_READ),
    queries: gpu.createQuerySet({ type: "timestamp", count: 2 }),
    resolved: buffer(16, QUERY_RESOLVE | COPY_SRC),
  };
  const { vendor, architecture, description } = gpu.adapterInfo ?? {};
  return [vendor, architecture, description].filter(Boolean).join(" ");
}

/** Dispatch and read back; wall time, and the GPU's own between its timestamps, in ms. */
async function dispatch({ poll: isPolled }) {
  await usePoll(isPolled);
  const { pipeline, values, group, readback, queries, resolved } = work;
  const startedAt = performance.now();
  const encoder = device.createCommandEncoder();
  const timestampWrites = { querySet: queries, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 };
  const pass = encoder.beginComputePass({ timestampWrites });
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, group);
  pass.dispatchWorkgroups(GROUPS);
  pass.end();
  encoder.resolveQuerySet(queries, 0, 2, resolved, 0);
  encoder.copyBufferToBuffer(values, 0, readback, 0, BYTES);
  encoder.copyBufferToBuffer(resolved, 0, readback, BYTES, 16);
  device.queue.submit([encoder.finish()]);
  await readback.mapAsync(GPUMapMode.READ);
  const wallMs = performance.now() - startedAt;
  const [begin, end] = new BigUint64Array(readback.getMappedRange(BYTES, 16));
  const gpuMs = Number(end - begin) / 1e6;
  readback.unmap();
  return { wallMs, gpuMs };
}

export const commands = {
  prepare,
  dispatch,
  poll: ({ poll: isPolled }) => usePoll(isPolled),
};
