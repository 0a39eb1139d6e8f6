// SPDX-License-Identifier: Apache-2.0
import { ROUND, type Task } from "./threads-shared";

const MAX_THREADS = 8;
const SLICE_MS = 40;
/** More threads have to be this much faster to be worth the cores they take from others. */
const WORTHWHILE = 1.1;
const WORKER_URL = "/runtime/threads-worker.js";

export interface ThreadChoice {
  threads: number;
  /** "option", "measured", or "single" where threads cannot be had. */
  source: "option" | "measured" | "single";
  /** Rounds per second by thread count. */
  rounds?: Record<string, number>;
}

/**
 * Choose ONNX Runtime's thread count: the option "threads", else by measuring for at most half a
 * second how fast 1, 2, 4 and 8 threads do small matrix products with a barrier after each. More
 * threads than idle cores make every barrier wait for the slowest one.
 */
export async function chooseThreads(option: unknown): Promise<ThreadChoice> {
  // WebKitGTK can be isolated and have no shared memory all the same.
  if (typeof SharedArrayBuffer === "undefined") return { threads: 1, source: "single" };
  if (typeof option === "number" && Number.isInteger(option) && option > 0)
    return { threads: option, source: "option" };
  const most = Math.min(MAX_THREADS, navigator.hardwareConcurrency);
  if (most < 2) return { threads: 1, source: "single" };
  const counts = [1, 2, 4, 8].filter((count) => count <= most);
  const workers = Array.from(
    { length: counts.at(-1) ?? 1 },
    () => new Worker(WORKER_URL, { type: "module" }),
  );
  try {
    await Promise.all(workers.map(answer));
    const rounds: Record<string, number> = {};
    // There and back again, so that a load that grows or shrinks meanwhile favours none.
    for (const count of [...counts, ...counts.toReversed()]) {
      rounds[count] = (rounds[count] ?? 0) + (await measure(workers.slice(0, count)));
    }
    return { threads: pick(rounds), source: "measured", rounds };
  } finally {
    for (const worker of workers) worker.terminate();
  }
}

/** Return the smallest thread count that no larger one clearly beats. */
export function pick(rounds: Readonly<Record<string, number>>): number {
  let best = 1;
  for (const [count, speed] of Object.entries(rounds)) {
    if (speed > (rounds[best] ?? 0) * WORTHWHILE) best = Number(count);
  }
  return best;
}

async function measure(workers: readonly Worker[]): Promise<number> {
  const control = new Int32Array(new SharedArrayBuffer(12));
  const startedAt = performance.timeOrigin + performance.now();
  workers.forEach((worker, index) => {
    worker.postMessage({
      control,
      index,
      threads: workers.length,
      endsAt: startedAt + SLICE_MS,
    } satisfies Task);
  });
  await Promise.all(workers.map(answer));
  const seconds = (performance.timeOrigin + performance.now() - startedAt) / 1000;
  return Math.round(Atomics.load(control, ROUND) / seconds);
}

function answer(worker: Worker): Promise<void> {
  return new Promise((resolve, reject) => {
    worker.onmessage = () => {
      resolve();
    };
    worker.onerror = (event) => {
      reject(new Error(event.message || "a measuring thread did not start"));
    };
  });
}
