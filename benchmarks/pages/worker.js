// SPDX-License-Identifier: Apache-2.0
import * as gpu from "./gpu.js";
import * as ort from "./ort.js";

const commands = { ...gpu.commands, ...ort.commands };

self.onmessage = async ({ data: { id, command, ...options } }) => {
  try {
    self.postMessage({ id, result: await commands[command](options) });
  } catch (error) {
    self.postMessage({ id, error: `${error}\n${error.stack ?? ""}` });
  }
};
