// SPDX-License-Identifier: Apache-2.0
// Files that the build turns into values.
declare module "*.wgsl" {
  const text: string;
  export default text;
}

declare module "*.onnx" {
  const bytes: Uint8Array<ArrayBuffer>;
  export default bytes;
}
