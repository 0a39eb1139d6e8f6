// SPDX-License-Identifier: Apache-2.0

/** Files the page keeps between visits, by name. A failure to keep is never an error. */
export interface Storage {
  /** Return a file's bytes, or null when it is not kept or has another size. */
  read(name: string, sizeBytes: number): Promise<Uint8Array<ArrayBuffer> | null>;
  /** Keep a file made of parts; false when there is no room or no right to. */
  write(name: string, parts: Uint8Array<ArrayBuffer>[]): Promise<boolean>;
  delete(name: string): Promise<void>;
}

const FOLDER = "accelerate";
/** A browser may never settle a storage promise; the model then comes from the host again. */
const PATIENCE_MS = 5_000;

/** Open the best storage this browser has: OPFS, else the Cache API, else none. */
export async function openStorage(): Promise<Storage | null> {
  return (await OpfsStorage.open()) ?? (await CacheStorageFolder.open());
}

/** Return what a promise brings, or throw when it takes too long; `late` gets what comes after. */
export async function soon<T>(promise: Promise<T>, late?: (value: T) => void): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`the browser's storage did not answer within ${PATIENCE_MS} ms`));
      promise.then(late, () => undefined);
    }, PATIENCE_MS);
  });
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    clearTimeout(timer);
  }
}

class OpfsStorage implements Storage {
  // Chromium never settles the promise of an access handle whose file handle is collected meanwhile.
  readonly #opening = new Set<FileSystemFileHandle>();

  private constructor(private readonly folder: FileSystemDirectoryHandle) {}

  static async open(): Promise<OpfsStorage | null> {
    try {
      const root = await soon(navigator.storage.getDirectory());
      const folder = await soon(root.getDirectoryHandle(FOLDER, { create: true }));
      return "createSyncAccessHandle" in FileSystemFileHandle.prototype ? new OpfsStorage(folder) : null;
    } catch {
      return null;
    }
  }

  async read(name: string, sizeBytes: number): Promise<Uint8Array<ArrayBuffer> | null> {
    try {
      const file = await soon(this.folder.getFileHandle(name));
      const handle = await this.#access(file);
      try {
        if (handle.getSize() !== sizeBytes) return null;
        const bytes = new Uint8Array(sizeBytes);
        return handle.read(bytes, { at: 0 }) === sizeBytes ? bytes : null;
      } finally {
        handle.close();
      }
    } catch {
      return null;
    }
  }

  // A file cut short by a crash has another size or checksum, and is fetched again.
  async write(name: string, parts: Uint8Array<ArrayBuffer>[]): Promise<boolean> {
    try {
      const file = await soon(this.folder.getFileHandle(name, { create: true }));
      const handle = await this.#access(file);
      try {
        handle.truncate(0);
        let size = 0;
        for (const part of parts) size += handle.write(part, { at: size });
        handle.flush();
        if (size === parts.reduce((sum, part) => sum + part.length, 0)) return true;
      } finally {
        handle.close();
      }
    } catch {
      // No room, or another tab writes the same file.
    }
    await this.delete(name);
    return false;
  }

  async #access(file: FileSystemFileHandle): Promise<FileSystemSyncAccessHandle> {
    this.#opening.add(file);
    try {
      return await soon(file.createSyncAccessHandle(), (handle) => {
        handle.close();
      });
    } finally {
      this.#opening.delete(file);
    }
  }

  async delete(name: string): Promise<void> {
    try {
      await soon(this.folder.removeEntry(name));
    } catch {
      // It is not there, or another tab holds it.
    }
  }
}

class CacheStorageFolder implements Storage {
  private constructor(private readonly cache: Cache) {}

  static async open(): Promise<CacheStorageFolder | null> {
    try {
      return new CacheStorageFolder(await soon(caches.open(FOLDER)));
    } catch {
      return null;
    }
  }

  async read(name: string, sizeBytes: number): Promise<Uint8Array<ArrayBuffer> | null> {
    try {
      const response = await this.cache.match(`/${FOLDER}/${name}`);
      const buffer = await response?.arrayBuffer();
      return buffer?.byteLength === sizeBytes ? new Uint8Array(buffer) : null;
    } catch {
      return null;
    }
  }

  async write(name: string, parts: Uint8Array<ArrayBuffer>[]): Promise<boolean> {
    try {
      await this.cache.put(`/${FOLDER}/${name}`, new Response(new Blob(parts)));
      return true;
    } catch {
      await this.delete(name);
      return false;
    }
  }

  async delete(name: string): Promise<void> {
    try {
      await this.cache.delete(`/${FOLDER}/${name}`);
    } catch {
      // Nothing is kept, then.
    }
  }
}
