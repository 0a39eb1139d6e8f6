// SPDX-License-Identifier: Apache-2.0
// ONNX Runtime gives a node to the CPU without a word when a provider does not take it. What went
// where is said only in its verbose log, which is read here while a session is created.
import type { InferenceSession } from "onnxruntime-web";
import { PageFailure } from "../wire/errors";
import type { OrtModule } from "./ort-load";
import { withOrtLog } from "./ort-log";

const CPU = "CPUExecutionProvider";
const PLACED = /(?:Node\(s\)|All nodes) placed on \[(\w+)\]\. Number of nodes: (\d+)/;
const NODE = /VerifyEachNodeIsAssignedToAnEp\]\s+(\S+) \((.*)\)\s*$/;
const SUPPORT =
  /GetSupportedNodes\] Operator type: \[(.+?)\] index: \[\d+\] name: \[.*?\] supported: \[([01])\]/;

export interface Placement {
  /** Nodes by execution provider, after fusion. */
  providers: Record<string, number>;
  /** Operators that run on the CPU, with how many nodes of each. */
  cpuOperators: Record<string, number>;
}

export interface Placed {
  session: InferenceSession;
  placement: Placement;
}

/** Read the placement of nodes from ONNX Runtime's verbose log lines. */
export function parsePlacement(lines: readonly string[]): Placement {
  const providers: Record<string, number> = {};
  const placed: Record<string, number> = {};
  const refused: Record<string, number> = {};
  let provider = "";
  for (const line of lines) {
    const group = PLACED.exec(line);
    const node = NODE.exec(line);
    const support = SUPPORT.exec(line);
    if (group?.[1] !== undefined) {
      provider = group[1];
      providers[provider] = (providers[provider] ?? 0) + Number(group[2]);
    } else if (node?.[1] !== undefined && provider === CPU) {
      count(placed, node[1]);
    } else if (support?.[1] !== undefined && support[2] === "0") {
      count(refused, support[1]);
    }
  }
  // When all nodes are in one place, the log does not list them.
  const isListed = Object.keys(placed).length > 0;
  return { providers, cpuOperators: isListed ? placed : CPU in providers ? refused : {} };
}

/** Name operators for people: "NonZero, Where (3)". */
export function operatorList(operators: Readonly<Record<string, number>>): string {
  return Object.entries(operators)
    .map(([name, nodes]) => (nodes > 1 ? `${name} (${nodes})` : name))
    .join(", ");
}

/** Create a session and say where its nodes went. Only one at a time, as `withOrtLog`. */
export async function createPlaced(
  ort: OrtModule,
  model: Uint8Array,
  options: InferenceSession.SessionOptions,
): Promise<Placed> {
  const create = () => ort.InferenceSession.create(model, { ...options, logSeverityLevel: 0 });
  const { result: session, log } = await withOrtLog(create);
  const placement = parsePlacement(log);
  if (Object.keys(placement.providers).length > 0) return { session, placement };
  await session.release();
  throw new PageFailure("internal", "ONNX Runtime's log does not say where the nodes of this model went");
}

function count(counts: Record<string, number>, name: string): void {
  counts[name] = (counts[name] ?? 0) + 1;
}
