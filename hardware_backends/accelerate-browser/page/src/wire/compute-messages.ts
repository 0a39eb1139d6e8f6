// SPDX-License-Identifier: Apache-2.0
// What crosses between the page's main thread and its compute thread.
import type {
  Done,
  Echo,
  Fetch,
  Load,
  Loaded,
  PageError,
  Ready,
  Release,
  Run,
  Unload,
  Welcome,
} from "../generated/messages";
import type { NamedRef, NamedTensor } from "./tensor";

export type Request = Load | Run | Fetch | Release | Unload | Echo;
export type Answer = Loaded | Done;

export type ToCompute =
  | { kind: "start"; welcome: Welcome; generation: number }
  | { kind: "request"; message: Request; tensors: (NamedTensor | NamedRef)[] }
  | { kind: "cancel"; id: number }
  | { kind: "dispose" };

export type FromCompute =
  | { kind: "ready"; message: Ready }
  | { kind: "answer"; message: Answer; tensors: (NamedTensor | NamedRef)[] }
  | { kind: "failed"; id: number; error: PageError }
  | { kind: "notice"; event: string; message: string; data: Record<string, unknown> }
  | { kind: "progress" }
  /** The thread cannot go on, and a new one can. */
  | { kind: "broken"; reason: string }
  /** The page cannot go on. */
  | { kind: "fatal"; error: PageError }
  | { kind: "disposed" };
