// SPDX-License-Identifier: Apache-2.0
// onnxruntime-web has no hook for its log: Emscripten binds the console's methods when the module
// is imported, so what listens has to stand there before.

const ORT_LINE = /\[[VIWEF]:onnxruntime/;

let lines: string[] | null = null;
let isTapped = false;

/** Stand between onnxruntime-web and the console; call it before the import. */
export function tapOrtLog(): void {
  if (isTapped) return;
  isTapped = true;
  for (const method of ["log", "warn", "error"] as const) {
    const original = console[method].bind(console);
    console[method] = (...args: unknown[]) => {
      const line = args.map(String).join(" ");
      if (lines !== null && ORT_LINE.test(line)) lines.push(line);
      else original(...args);
    };
  }
}

/** Do work and return what ONNX Runtime logged meanwhile. Only one such work at a time. */
export async function withOrtLog<T>(work: () => Promise<T>): Promise<{ result: T; log: string[] }> {
  const log: string[] = [];
  lines = log;
  try {
    return { result: await work(), log };
  } finally {
    lines = null;
  }
}
