// SPDX-License-Identifier: Apache-2.0

// Places in the shared control array.
export const ARRIVED = 0;
export const ROUND = 1;
export const STOP = 2;

// One round is a matrix product of these extents: about a millisecond, as an operator of a small model.
export const ROWS = 64;
export const COLUMNS = 128;
export const DEPTH = 128;

export interface Task {
  control: Int32Array;
  index: number;
  threads: number;
  /** Milliseconds since the epoch. */
  endsAt: number;
}
