// SPDX-License-Identifier: Apache-2.0
import type { PageError } from "../generated/messages";

const KINDS = [
  "model",
  "unsupported",
  "device_lost",
  "out_of_memory",
  "cancelled",
  "unavailable",
  "internal",
] as const;
export type ErrorKind = (typeof KINDS)[number];

/** An error that knows what the host can do about it. */
export class PageFailure extends Error {
  constructor(
    readonly kind: ErrorKind,
    message: string,
    options?: { name?: string; cause?: unknown },
  ) {
    super(message, { cause: options?.cause });
    this.name = options?.name ?? "PageFailure";
  }
}

/** Whether an error has a kind. Engines are modules of their own, so its class tells nothing. */
export function hasKind(error: unknown): error is Error & { kind: ErrorKind } {
  return error instanceof Error && "kind" in error && KINDS.some((kind) => kind === error.kind);
}

const OUT_OF_MEMORY = /out of memory|bad_alloc|allocation failed|failed to allocate|cannot enlarge memory/i;
// Leaves room for the rest of the message in one frame.
const MAX_TEXT = 16 << 10;

/** Turn anything thrown into what crosses to the host. An error that has a kind keeps it. */
export function toPageError(error: unknown, kind: ErrorKind = "internal"): PageError {
  if (!(error instanceof Error)) {
    const message = describe(error);
    return { name: "Error", message, stack: "", kind: kindOf(message, kind) };
  }
  const own = hasKind(error) ? error.kind : kindOf(error.message, kind);
  return {
    name: error.name,
    message: describe(error),
    stack: clip(error.stack ?? ""),
    kind: own,
  };
}

/** Return the message of anything thrown. */
export function describe(error: unknown): string {
  return clip(error instanceof Error ? error.message || error.name : String(error));
}

// Half a surrogate pair is a string in JavaScript, but no text that can cross as UTF-8.
function clip(text: string): string {
  return text.slice(0, MAX_TEXT).toWellFormed();
}

function kindOf(message: string, otherwise: ErrorKind): ErrorKind {
  return OUT_OF_MEMORY.test(message) ? "out_of_memory" : otherwise;
}
