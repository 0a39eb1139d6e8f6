// SPDX-License-Identifier: Apache-2.0
import type { AssetHeader } from "../generated/messages";
import { PageFailure } from "../wire/errors";
import { CHECKSUM_BYTES, checksumOf, createHasher } from "./checksums";
import type { Asset, EngineContext } from "./engine";
import type { Storage } from "./storage";

/**
 * Gets a model's files: from the page's own storage, else from the host. What the host sends is
 * verified by SHA-256. It is kept with a checksum after its bytes, which finds what the disk did to
 * them at a tenth of the cost; whoever could change both could change this script too.
 */
export class Assets {
  readonly #storage: Promise<Storage | null>;
  readonly #progress: EngineContext["progress"];
  readonly #loading = new Map<string, Promise<Asset>>();

  constructor(storage: Promise<Storage | null>, progress: EngineContext["progress"]) {
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
    this.#progress(`looking for ${header.name} in the browser's storage`);
    const storage = await this.#storage;
    const kept = storage === null ? null : await this.#kept(storage, header);
    if (kept !== null) return { bytes: kept, isCached: true };
    this.#progress(`fetching ${header.name}`);
    const { bytes, checksum } = await this.#fetch(header);
    this.#progress(`keeping ${header.name}`);
    await storage?.write(header.sha256, [bytes, checksum]);
    return { bytes, isCached: false };
  }

  async #kept(storage: Storage, header: AssetHeader): Promise<Uint8Array<ArrayBuffer> | null> {
    const file = await storage.read(header.sha256, header.size_bytes + CHECKSUM_BYTES);
    this.#progress();
    if (file === null) return null;
    const bytes = file.subarray(0, header.size_bytes);
    const checksum = await checksumOf(bytes);
    if (checksum.every((byte, i) => byte === file[header.size_bytes + i])) return bytes;
    await storage.delete(header.sha256);
    return null;
  }

  async #fetch(
    header: AssetHeader,
  ): Promise<{ bytes: Uint8Array<ArrayBuffer>; checksum: Uint8Array<ArrayBuffer> }> {
    const hasher = await createHasher();
    // The browser's HTTP cache would only keep every model a second time.
    const response = await fetch(`/assets/${header.sha256}`, {
      cache: "no-store",
      credentials: "same-origin",
    });
    if (!response.ok || response.body === null) throw broken(header, `the host answered ${response.status}`);
    const bytes = new Uint8Array(header.size_bytes);
    let received = 0;
    for (const reader = response.body.getReader(); ;) {
      const { done, value } = await reader.read();
      if (done) break;
      if (received + value.length > bytes.length) {
        await reader.cancel();
        throw broken(header, `the host sent more than ${header.size_bytes} bytes`);
      }
      bytes.set(value, received);
      hasher.update(value);
      received += value.length;
      this.#progress();
    }
    const { sha256, checksum } = hasher.finish();
    if (received !== bytes.length)
      throw broken(header, `the host sent ${received} of ${header.size_bytes} bytes`);
    if (sha256 !== header.sha256) throw broken(header, `the host sent bytes with hash ${sha256}`);
    return { bytes, checksum: new Uint8Array(checksum) };
  }
}

function broken(header: AssetHeader, what: string): PageFailure {
  return new PageFailure("internal", `asset ${header.name} (${header.sha256}): ${what}`);
}
