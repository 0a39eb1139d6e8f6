// SPDX-License-Identifier: Apache-2.0
import { describe, hasKind, PageFailure, type ErrorKind } from "../wire/errors";

// An adapter without shader-f16 is found out at the first run.
const NO_F16 = "requires f16";
// ONNX Runtime's status code for what the caller got wrong.
const INVALID_ARGUMENT = /ERROR_CODE: 2\b/;
// What stops its start comes as a text. An abort is Emscripten's own verdict, and no trap.
const TRAP = /\bRuntimeError: (?!Aborted\()(.*)/s;
const OUT_OF_MEMORY = /out of memory|bad_alloc|allocat/i;

/** Give onnxruntime-web's error from creating a session its kind; its own words stay. */
export function loadFailure(error: unknown, model: string): unknown {
  return isOurs(error) ? error : failure(error, `model ${model} cannot be loaded`, "model");
}

/** Give onnxruntime-web's error from running a session its kind; its own words stay. */
export function runFailure(error: unknown, model: string): unknown {
  if (isOurs(error)) return error;
  const message = describe(error);
  const kind = message.includes(NO_F16)
    ? "unsupported"
    : INVALID_ARGUMENT.test(message)
      ? "model"
      : "internal";
  return failure(error, `model ${model} failed`, kind);
}

/** Return the trap behind an error, or null. A trap is a crash: it does not say what works here. */
export function trapOf(error: unknown): WebAssembly.RuntimeError | null {
  if (error instanceof WebAssembly.RuntimeError) return error;
  const trap = TRAP.exec(describe(error))?.[1];
  return trap === undefined ? null : new WebAssembly.RuntimeError(trap);
}

// A trap is passed on as it is: the runtime replaces the thread for it.
function isOurs(error: unknown): boolean {
  return hasKind(error) || error instanceof WebAssembly.RuntimeError;
}

function failure(error: unknown, what: string, kind: ErrorKind): PageFailure {
  const message = describe(error);
  const name = error instanceof Error ? error.name : "Error";
  return new PageFailure(OUT_OF_MEMORY.test(message) ? "out_of_memory" : kind, `${what}: ${message}`, {
    name,
    cause: error,
  });
}
