// SPDX-License-Identifier: Apache-2.0
// Builds the page runtime and the engines into the distributions that carry them.
import { build } from "esbuild";
import { chmod, cp, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { withoutEval } from "./ort-patch.mjs";

const PAGE = dirname(fileURLToPath(import.meta.url));
const BACKENDS = join(PAGE, "../..");
const BROWSER = join(PAGE, "../src/accelerate_browser/static");
const ORT = join(PAGE, "node_modules/onnxruntime-web/dist");

// The bridge serves folders without their subfolders, so each one built here is flat.

/** The distributions next to this one whose engines run in the same page runtime. */
const ENGINES = [
  {
    distribution: "accelerate-webgpu",
    package: "accelerate_webgpu",
    modules: ["engine", "plan", "auto"],
    bundles: ["webgpu"],
  },
  { distribution: "accelerate-webnn", package: "accelerate_webnn", modules: ["engine"], bundles: [] },
];
const ORT_FILES = {
  wasm: ["ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"],
  jspi: ["ort.jspi.min.mjs", "ort-wasm-simd-threaded.jspi.mjs", "ort-wasm-simd-threaded.jspi.wasm"],
  webgpu: [
    "ort.webgpu.min.mjs",
    "ort-wasm-simd-threaded.asyncify.mjs",
    "ort-wasm-simd-threaded.asyncify.wasm",
  ],
};

const PATCHED = {
  jspi: ["ort-wasm-simd-threaded.jspi.mjs"],
  webgpu: ["ort-wasm-simd-threaded.asyncify.mjs"],
};

const common = {
  bundle: true,
  format: "esm",
  target: ["es2022"],
  minify: true,
  legalComments: "none",
  banner: { js: "// SPDX-License-Identifier: Apache-2.0" },
  loader: { ".wgsl": "text", ".onnx": "binary" },
  external: ["/runtime/*"],
  logLevel: "warning",
};

async function copyOrt(folder, bundles) {
  for (const file of bundles.flatMap((bundle) => ORT_FILES[bundle])) {
    await cp(join(ORT, file), join(folder, file));
  }
  for (const file of bundles.flatMap((bundle) => PATCHED[bundle] ?? [])) {
    await writeFile(join(folder, file), withoutEval(await readFile(join(ORT, file), "utf8"), file));
  }
  await cp(join(PAGE, "licenses/onnxruntime"), folder, { recursive: true });
}

/** Fill a folder beside its place, then put it there as a whole. */
async function replace(place, fill) {
  const folder = await mkdtemp(`${place}-`);
  try {
    await fill(folder);
    // mkdtemp's folders are private; packages are for everybody.
    await chmod(folder, 0o755);
    await rm(place, { recursive: true, force: true });
    await rename(folder, place);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

await replace(BROWSER, async (folder) => {
  await build({
    ...common,
    entryPoints: {
      main: join(PAGE, "src/control/main.ts"),
      compute: join(PAGE, "src/compute/compute.ts"),
      "threads-worker": join(PAGE, "src/compute/threads-worker.ts"),
      "ort-engine": join(PAGE, "src/compute/ort-engine.ts"),
      "ort-wasm/engine": join(PAGE, "src/engines/ort-wasm.ts"),
    },
    outdir: folder,
  });
  for (const file of ["index.html", "page.css"]) await cp(join(PAGE, "src", file), join(folder, file));
  await copyOrt(folder, ["wasm", "jspi"]);
  await cp(join(PAGE, "licenses/hash-wasm"), folder, { recursive: true });
});

for (const { distribution, package: name, modules, bundles } of ENGINES) {
  const place = join(BACKENDS, distribution, "src", name, "static");
  await replace(place, async (folder) => {
    const entryPoints = modules.map((module) => join(BACKENDS, distribution, "page", `${module}.ts`));
    await build({ ...common, entryPoints, outdir: folder });
    if (bundles.length > 0) await copyOrt(folder, bundles);
  });
}
