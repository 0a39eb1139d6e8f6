// SPDX-License-Identifier: Apache-2.0
// Builds the page runtime and the engines into the distributions that carry them.
import { build } from "esbuild";
import { access, cp, readFile, rm, writeFile } from "node:fs/promises";
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
  { distribution: "accelerate-webgpu", package: "accelerate_webgpu", bundles: ["webgpu"] },
  { distribution: "accelerate-webnn", package: "accelerate_webnn", bundles: [] },
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
  for (const file of bundles.flatMap((bundle) => ORT_FILES[bundle]))
    await cp(join(ORT, file), join(folder, file));
  for (const file of bundles.flatMap((bundle) => PATCHED[bundle] ?? [])) {
    await writeFile(join(folder, file), withoutEval(await readFile(join(ORT, file), "utf8"), file));
  }
  await cp(join(PAGE, "licenses"), folder, { recursive: true });
}

async function buildRuntime() {
  await rm(BROWSER, { recursive: true, force: true });
  await build({
    ...common,
    entryPoints: {
      main: join(PAGE, "src/control/main.ts"),
      compute: join(PAGE, "src/compute/compute.ts"),
      "threads-worker": join(PAGE, "src/compute/threads-worker.ts"),
      "ort-engine": join(PAGE, "src/compute/ort-engine.ts"),
    },
    outdir: BROWSER,
  });
  await build({
    ...common,
    entryPoints: [join(PAGE, "src/engines/ort-wasm.ts")],
    outfile: join(BROWSER, "ort-wasm/engine.js"),
  });
  await cp(join(PAGE, "src/index.html"), join(BROWSER, "index.html"));
  await cp(join(PAGE, "src/page.css"), join(BROWSER, "page.css"));
  await copyOrt(BROWSER, ["wasm", "jspi"]);
}

async function buildEngine({ distribution, package: name, bundles }) {
  const source = join(BACKENDS, distribution, "page/engine.ts");
  const target = join(BACKENDS, distribution, "src", name, "static");
  await access(source);
  await rm(target, { recursive: true, force: true });
  await build({ ...common, entryPoints: [source], outfile: join(target, "engine.js") });
  if (bundles.length > 0) await copyOrt(target, bundles);
}

await buildRuntime();
for (const engine of ENGINES) await buildEngine(engine);
