// SPDX-License-Identifier: Apache-2.0
// The engine `plan`: models compiled on the host, replayed here. JavaScript and WGSL only.
import type { Engine, EngineContext } from "../../accelerate-browser/page/src/compute/engine";
import { PlanEngine } from "./plan/engine";

export { API as api } from "../../accelerate-browser/page/src/compute/engine";

// The runtime has seen the device compute.
export async function create(context: EngineContext): Promise<Engine> {
  return Promise.resolve(new PlanEngine(context));
}
