// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { soon } from "../src/compute/storage";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

test("an answer in time is passed on and leaves no timer behind", async () => {
  expect(await soon(Promise.resolve(3))).toBe(3);
  await expect(soon(Promise.reject(new Error("no room")))).rejects.toThrow("no room");
  expect(vi.getTimerCount()).toBe(0);
});

test("storage that never answers is given up, and what comes late is handed back", async () => {
  let resolve: (value: string) => void = () => undefined;
  const promise = new Promise<string>((settle) => {
    resolve = settle;
  });
  const late: string[] = [];
  const waiting = expect(soon(promise, (value) => late.push(value))).rejects.toThrow("did not answer");
  await vi.advanceTimersByTimeAsync(60_000);
  await waiting;
  resolve("handle");
  await vi.advanceTimersByTimeAsync(0);
  expect(late).toEqual(["handle"]);
});
