// SPDX-License-Identifier: Apache-2.0
import type { AssetHeader } from "../generated/messages";
import { PageFailure } from "../wire/errors";
import type { Asset } from "./engine";
import { sha256 } from "./sha256";
import type { Storage } from "./storage";

/** Gets a model's files: from the page's own storage, else from the host; verified either way. */
export class Assets {
  readonly #storage: Promise<Storage | null>;
  readonly #progress: () => void;
  readonly #loading = new Map<string, Promise<Asset>>();

  constructor(storage: Promise<Storage | null>, progress: () => void) {
    this.#storage = storage;
    this.#progress = progress;
  }

  /** Return an asset's bytes; calls for one that is on its way share it. */
  get(header: AssetHeader): Promise<Asset> {
    const { sha256: hash } = header;
    let asset = this.#loading.get(hash);
    if (asset === undefined) {
      asset = this.#load(header).finally(() => this.#loading.delete(hash));
      this.#loading.set(hash, asset);
    }
    return asset;
  }

  async #load(header: AssetHeader): Promise<Asset> {
    const storage = await this.#storage;
    const kept = await storage?.read(header.sha256, header.size_bytes);
    this.#progress();
    if (kept && (await sha256(kept)) === header.sha256) return { bytes: kept, isCached: true };
    if (kept) await storage?.delete(header.sha256);
    const bytes = await this.#fetch(header);
    const hash = await sha256(bytes);
    this.#progress();
    if (hash !== header.sha256) {
      throw new PageFailure("internal", `${header.name}: the host sent bytes with hash ${hash}, not ${header.sha256}`);
    }
    await storage?.write(header.sha256, bytes);
    return { bytes, isCached: false };
  }

  async #fetch(header: AssetHeader): Promise<Uint8Array<ArrayBuffer>> {
    // The browser's HTTP cache would only keep every model a second time.
    const response = await fetch(`/assets/${header.sha256}`, { cache: "no-store", credentials: "same-origin" });
    if (!response.ok || response.body === null) {
      throw new PageFailure("internal", `${header.name}: the host answered ${response.status} for its bytes`);
    }
    const bytes = new Uint8Array(header.size_bytes);
    let received = 0;
    for (const reader = response.body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) break;
      if (received + value.length > bytes.length) {
        await reader.cancel();
        throw new PageFailure("internal", `${header.name}: the host sent more than ${header.size_bytes} bytes`);
      }
      bytes.set(value, received);
      received += value.length;
      this.#progress();
    }
    if (received !== bytes.length) {
      throw new PageFailure("internal", `${header.name}: the host sent ${received} of ${header.size_bytes} bytes`);
    }
    return bytes;
  }
}
