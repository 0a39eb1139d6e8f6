// SPDX-License-Identifier: Apache-2.0
// What a user would write without this project: a raw echo, and a worker that computes.
const worker = new Worker("/pages/worker.js", { type: "module" });
const waiting = new Map();

worker.onmessage = ({ data: { id, result, error } }) => {
  const { resolve, reject } = waiting.get(id);
  waiting.delete(id);
  if (error === undefined) resolve(result);
  else reject(new Error(error));
};

function inWorker(message) {
  return new Promise((resolve, reject) => {
    waiting.set(message.id, { resolve, reject });
    worker.postMessage(message);
  });
}

function open(path) {
  const socket = new WebSocket(`ws://${location.host}${path}`);
  socket.binaryType = "arraybuffer";
  return socket;
}

const echo = open("/echo");
echo.onmessage = ({ data }) => {
  echo.send(data);
};

const control = open("/control");
control.onmessage = async ({ data }) => {
  const message = JSON.parse(data);
  const answer = { id: message.id };
  try {
    if (message.command === "open") window.open(message.url, "_blank", "noopener");
    else answer.result = await inWorker(message);
  } catch (error) {
    answer.error = String(error);
  }
  control.send(JSON.stringify(answer));
};
