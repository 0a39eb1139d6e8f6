// SPDX-License-Identifier: Apache-2.0
// The WebNN engine: onnxruntime-web on an MLContext, with every node on it or none.
import {
  createPlaced,
  hasJspi,
  importOrt,
  operatorList,
  OrtEngine,
  PageFailure,
  proveProvider,
  type CreatedSession,
  type OrtModule,
  type SessionOptions,
} from "/runtime/ort-engine.js";
import type { Engine, EngineContext } from "../../accelerate-browser/page/src/compute/engine";
import { deviceOrder, openDevice, type DeviceType } from "./device";

export { API as api } from "../../accelerate-browser/page/src/compute/engine";

const DEFAULT_ORDER: readonly DeviceType[] = ["npu", "gpu", "cpu"];
// ONNX Runtime's own switch; its error does not name the nodes.
const STRICT = { session: { disable_cpu_ep_fallback: "1" } };

export async function create(context: EngineContext): Promise<Engine> {
  if (!hasJspi())
    throw new PageFailure("unavailable", "This browser cannot suspend WASM (JSPI), which WebNN needs here.");
  const { device_types: types, power_preference: preference, allow_partial: allowPartial } = context.options;
  const order = deviceOrder(types) ?? DEFAULT_ORDER;
  const opened = await openDevice(order, typeof preference === "string" ? preference : undefined);
  const ort = await importOrt(context.runtimeUrl, "jspi", 1);
  return OrtEngine.create(ort, context, {
    options: () => ({
      executionProviders: [{ name: "webnn", context: opened.context, deviceType: opened.asked }],
    }),
    needsStaticShapes: true,
    createSession: (model, options) => createWhole(ort, model, options, allowPartial === true),
    dispose: () => {
      opened.context.destroy();
    },
    info: {
      device_type: opened.ran,
      is_software: opened.ran === "cpu" && opened.asked !== "cpu",
      details: {
        bundle: "jspi",
        device_type_asked: opened.asked,
        device_types: opened.findings,
      },
    },
  });
}

/** Create a session whose nodes all run on WebNN; PageFailure names the operators that do not. */
async function createWhole(
  ort: OrtModule,
  model: Uint8Array,
  options: SessionOptions,
  allowPartial: boolean,
): Promise<CreatedSession> {
  try {
    const session = await mending(ort, options, () =>
      ort.InferenceSession.create(model, { ...options, extra: STRICT }),
    );
    return { session, details: { cpu_operators: {} } };
  } catch (strict) {
    // Whether it fails for another reason, the same call without the switch shows.
    const { session, placement } = await mending(ort, options, () => createPlaced(ort, model, options));
    const onWebNn = placement.providers["WebNNExecutionProvider"] ?? 0;
    if (allowPartial && onWebNn > 0) return { session, details: { cpu_operators: placement.cpuOperators } };
    await session.release();
    const operators = operatorList(placement.cpuOperators);
    if (operators === "") throw strict;
    const what = onWebNn > 0 ? "only part of this model" : "no node of this model";
    throw new PageFailure("unsupported", `WebNN takes ${what} here; on the CPU would run: ${operators}`, {
      cause: strict,
    });
  }
}

// onnxruntime-web 1.30 forgets to reset what it set for a session that then failed, and the next
// run of any session fails. Creating one that succeeds resets it.
async function mending<T>(ort: OrtModule, options: SessionOptions, create: () => Promise<T>): Promise<T> {
  try {
    return await create();
  } catch (error) {
    const { executionProviders = [] } = options;
    await proveProvider(ort, { executionProviders });
    throw error;
  }
}
