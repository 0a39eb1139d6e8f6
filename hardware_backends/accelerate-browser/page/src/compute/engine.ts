// SPDX-License-Identifier: Apache-2.0
// What an engine module implements. See "How to write an engine module" in the README.
import type { AssetHeader, KernelHeader, Load, Loaded, Ready } from "../generated/messages";
import type { HostTensor } from "../wire/tensor";

/** The version of this interface that a module exports as `api`. */
export const API = 1;

export interface Adapter {
  info: Record<string, string>;
  features: string[];
  limits: Record<string, number>;
  /** A CPU pretends to be a GPU; null where the browser does not say. */
  isSoftware: boolean | null;
}

export interface Asset {
  bytes: Uint8Array<ArrayBuffer>;
  isCached: boolean;
}

export interface EngineContext {
  /** The page's one GPUDevice, owned by the runtime; null unless the engine needs a GPU. */
  device: GPUDevice | null;
  adapter: Adapter | null;
  /** Folder of the engine's own files; ends in a slash. */
  baseUrl: string;
  /** Folder of the runtime's files; ends in a slash. */
  runtimeUrl: string;
  options: Readonly<Record<string, unknown>>;
  /** Tells kept tensors of this compute thread from those of one it replaced. */
  generation: number;
  asset(header: AssetHeader): Promise<Asset>;
  /** Call when something moved; `doing` says in words what begins. */
  progress(doing?: string): void;
  log(message: string): void;
}

export interface KeptTensor {
  ref: string;
  dtype: string;
  shape: readonly number[];
}

export interface RunResult {
  outputs: Map<string, HostTensor>;
  kept: Map<string, KeptTensor>;
  /** Inputs ready to outputs on the CPU. */
  inPageMs: number;
  /** How long each dispatch took, for a model loaded with `profile`. */
  profile?: readonly KernelHeader[];
}

export interface Engine {
  info: Omit<Ready, "type">;
  load(request: Load): Promise<Omit<Loaded, "type" | "id">>;
  /** Run once; an input is a tensor or the ref of a kept one. `keep` names outputs to keep. */
  run(
    model: string,
    inputs: Map<string, HostTensor | string>,
    keep: ReadonlySet<string>,
    signal: AbortSignal,
  ): Promise<RunResult>;
  fetch(ref: string): Promise<HostTensor>;
  release(ref: string): Promise<void>;
  unload(model: string): Promise<void>;
  /** Rebuild on the new device what lived on the lost one. Without it the thread is replaced. */
  deviceLost?(device: GPUDevice): Promise<void>;
  dispose(): Promise<void>;
}

export interface EngineModule {
  api: number;
  create(context: EngineContext): Promise<Engine>;
}
