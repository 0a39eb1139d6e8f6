// SPDX-License-Identifier: Apache-2.0
// One thread of the measurement in threads.ts.
import { ARRIVED, COLUMNS, DEPTH, ROUND, ROWS, STOP, type Task } from "./threads-shared";

const left = new Float32Array(ROWS * DEPTH).fill(0.5);
const right = new Float32Array(DEPTH * COLUMNS).fill(0.25);
const product = new Float32Array(ROWS * COLUMNS);

function multiply(firstRow: number, lastRow: number): void {
  for (let row = firstRow; row < lastRow; row += 1) {
    for (let column = 0; column < COLUMNS; column += 1) {
      let sum = 0;
      for (let k = 0; k < DEPTH; k += 1)
        sum += (left[row * DEPTH + k] ?? 0) * (right[k * COLUMNS + column] ?? 0);
      product[row * COLUMNS + column] = sum;
    }
  }
}

// Rounds of one operator each, split by rows, and a barrier after each: how ONNX Runtime runs.
function work({ control, index, threads, endsAt }: Task): void {
  const first = Math.floor((ROWS * index) / threads);
  const last = Math.floor((ROWS * (index + 1)) / threads);
  while (Atomics.load(control, STOP) === 0) {
    const round = Atomics.load(control, ROUND);
    multiply(first, last);
    if (Atomics.add(control, ARRIVED, 1) + 1 === threads) {
      if (performance.timeOrigin + performance.now() >= endsAt) Atomics.store(control, STOP, 1);
      Atomics.store(control, ARRIVED, 0);
      Atomics.add(control, ROUND, 1);
      Atomics.notify(control, ROUND);
    } else {
      while (Atomics.load(control, ROUND) === round) Atomics.wait(control, ROUND, round, 20);
    }
  }
}

self.onmessage = (event: MessageEvent<Task>): void => {
  work(event.data);
  self.postMessage(null);
};
multiply(0, ROWS);
self.postMessage(null);
