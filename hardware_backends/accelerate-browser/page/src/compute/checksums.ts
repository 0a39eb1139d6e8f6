// SPDX-License-Identifier: Apache-2.0
// crypto.subtle has no incremental digest: it would need a second copy of every file.
import { createSHA256, createXXHash128 } from "hash-wasm";

/** Bytes of a checksum. */
export const CHECKSUM_BYTES = 16;
const BLOCK_BYTES = 1 << 22;

/** Hashes a file as it arrives: its SHA-256, and the checksum it is kept with. */
export interface Hasher {
  update(bytes: Uint8Array): void;
  finish(): { sha256: string; checksum: Uint8Array };
}

export async function createHasher(): Promise<Hasher> {
  const [sha256, xxhash] = await Promise.all([createSHA256(), createXXHash128()]);
  sha256.init();
  xxhash.init();
  return {
    update: (bytes) => {
      sha256.update(bytes);
      xxhash.update(bytes);
    },
    finish: () => ({ sha256: sha256.digest("hex"), checksum: xxhash.digest("binary") }),
  };
}

/** Return the checksum of bytes: XXH128, an order of magnitude faster than SHA-256. */
export async function checksumOf(bytes: Uint8Array): Promise<Uint8Array> {
  const xxhash = await createXXHash128();
  xxhash.init();
  // hash-wasm copies what it is given into its own memory.
  for (let offset = 0; offset < bytes.length; offset += BLOCK_BYTES) {
    xxhash.update(bytes.subarray(offset, offset + BLOCK_BYTES));
  }
  return xxhash.digest("binary");
}
