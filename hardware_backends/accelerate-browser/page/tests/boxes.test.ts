// SPDX-License-Identifier: Apache-2.0
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { INLINE_BYTES, type FromPage, type TensorHeader } from "../src/generated/messages";
import {
  decodeFrame,
  encodeMessage,
  FrameError,
  type ChunkFrame,
  type MessageFrame,
} from "../src/wire/frames";
import { Inbox, parse } from "../src/wire/inbox";
import { Outbox, type Channel } from "../src/wire/outbox";
import type { NamedTensor } from "../src/wire/tensor";

/** Keeps what is sent; `bufferedAmount` falls by a chunk with every pause. */
class FakeChannel implements Channel {
  readonly frames: (MessageFrame | ChunkFrame)[] = [];
  readonly raw: ArrayBuffer[] = [];
  bufferedAmount = 0;
  isOpen = true;
  highWater = 2 << 20;
  pauses = 0;
  most = 0;
  onPause: () => void = () => undefined;

  send(data: Uint8Array<ArrayBuffer>): void {
    const copy = data.slice().buffer;
    this.raw.push(copy);
    this.frames.push(decodeFrame(copy));
    this.bufferedAmount += data.length;
    this.most = Math.max(this.most, this.bufferedAmount);
  }

  pause(): Promise<void> {
    this.pauses += 1;
    this.bufferedAmount = Math.max(0, this.bufferedAmount - (1 << 20));
    this.onPause();
    return Promise.resolve();
  }
}

function tensor(name: string, size: number): NamedTensor {
  const data = new Uint8Array(size);
  for (let i = 0; i < size; i += 1) data[i] = i * 7 + (i >> 10);
  return { name, dtype: "uint8", shape: [size], data };
}

/** Rewrite a page's Done as the host's Echo: both announce tensors alike. */
function asEcho(frame: ArrayBuffer): ArrayBuffer {
  const decoded = decodeFrame(frame);
  if (decoded.kind === "chunk") return frame;
  const { id, tensors } = JSON.parse(decoded.json) as { id: number; tensors: TensorHeader[] };
  return encodeMessage(JSON.stringify({ type: "Echo", id, tensors }), [decoded.inline]).buffer;
}

const done = (id: number): FromPage => ({ type: "Done", id });
const settled = () => new Promise((resolve) => setTimeout(resolve, 0));

describe("outbox", () => {
  test("sends small tensors in one frame and large ones as streams that the inbox puts together", async () => {
    const sizes = fc.array(
      fc.oneof(fc.integer({ min: 0, max: 40 }), fc.constantFrom(INLINE_BYTES, 1 << 20, (1 << 20) + 1)),
      {
        maxLength: 4,
      },
    );
    await fc.assert(
      fc.asyncProperty(sizes, async (lengths) => {
        const channel = new FakeChannel();
        const tensors = lengths.map((size, i) => tensor(`t${i}`, size));
        new Outbox(channel).send(done(1), tensors);
        await settled();
        const total = lengths.reduce((sum, size) => sum + Math.ceil(size / 8) * 8, 0);
        if (total <= INLINE_BYTES) expect(channel.frames).toHaveLength(1);
        if (tensors.length === 0) return;
        const inbox = new Inbox();
        const deliveries = channel.raw
          .map((frame) => inbox.accept(asEcho(frame)))
          .filter((delivery) => delivery !== null);
        expect(deliveries).toHaveLength(1);
        const received = deliveries[0]?.tensors ?? [];
        // Buffers compare at once; vitest compares element by element.
        const equal = tensors.map(({ data }, i) => {
          const one = received[i];
          return one !== undefined && "data" in one && Buffer.compare(one.data, data) === 0;
        });
        expect(equal).toEqual(tensors.map(() => true));
      }),
      { numRuns: 20 },
    );
  });

  test("waits for the network, and lets control messages pass", async () => {
    const channel = new FakeChannel();
    const outbox = new Outbox(channel);
    channel.onPause = () => {
      if (channel.pauses === 1) outbox.send({ type: "Pong", sequence: 1, progress: 0, running: 0 });
    };
    outbox.send(done(1), [tensor("x", 8 << 20)]);
    while (channel.frames.filter(({ kind }) => kind === "chunk").length < 8) await settled();
    expect(channel.most).toBeLessThan(channel.highWater + (2 << 20));
    const pong = channel.frames.findIndex((frame) => frame.kind === "message" && frame.json.includes("Pong"));
    expect(pong).toBeGreaterThan(0);
    expect(pong).toBeLessThan(channel.frames.length - 1);
  });

  test("stops when the socket closes", async () => {
    const channel = new FakeChannel();
    channel.onPause = () => {
      channel.isOpen = false;
    };
    const outbox = new Outbox(channel);
    outbox.send(done(1), [tensor("x", 8 << 20)]);
    outbox.send(done(2), [tensor("x", 8 << 20)]);
    await settled();
    const sent = channel.frames.length;
    expect(sent).toBeLessThan(8);
    outbox.send(done(3));
    await settled();
    expect(channel.frames).toHaveLength(sent);
  });

  test("numbers the streams of queued messages in the order they are announced", async () => {
    const channel = new FakeChannel();
    const outbox = new Outbox(channel);
    for (const id of [1, 2, 3]) outbox.send(done(id), [tensor("x", 300 << 10)]);
    await settled();
    const announced = channel.frames.flatMap((frame) =>
      frame.kind === "message"
        ? (JSON.parse(frame.json) as { tensors: TensorHeader[] }).tensors.map(({ stream }) => stream)
        : [],
    );
    expect(announced).toEqual([1, 2, 3]);
  });
});

describe("inbox", () => {
  const header = { name: "x", dtype: "float32", shape: [2], size_bytes: 8 };
  const echo = (tensors: unknown, inline: Uint8Array[] = []) =>
    encodeMessage(JSON.stringify({ type: "Echo", id: 1, tensors }), inline).buffer;

  test("hands over inline tensors and refs", () => {
    const delivery = new Inbox().accept(
      echo(
        [
          { ...header, offset: 0 },
          { ...header, name: "y", ref: "1-1" },
        ],
        [new Uint8Array(8)],
      ),
    );
    expect(delivery?.tensors).toEqual([
      { name: "x", dtype: "float32", shape: [2], data: new Uint8Array(8) },
      { name: "y", dtype: "float32", shape: [2], ref: "1-1" },
    ]);
  });

  test.each([
    ["no place", {}],
    ["two places", { offset: 0, ref: "r" }],
    ["a place outside the message", { offset: 16 }],
    ["a place that is not aligned", { offset: 4 }],
    ["a wrong size", { offset: 0, size_bytes: 4 }],
    ["an unknown dtype", { offset: 0, dtype: "complex64" }],
    ["a negative extent", { offset: 0, shape: [-2] }],
    ["a shape that is no list", { offset: 0, shape: "2" }],
    ["a field of its own", { offset: 0, colour: "red" }],
  ])("refuses a tensor with %s", (_, place) => {
    expect(() => new Inbox().accept(echo([{ ...header, ...place }], [new Uint8Array(16)]))).toThrow(
      FrameError,
    );
  });

  test("refuses tensor bytes on a message that has none", () => {
    const frame = encodeMessage(JSON.stringify({ type: "Ping", sequence: 1 }), [new Uint8Array(8)]);
    expect(() => new Inbox().accept(frame.buffer)).toThrow("carries no tensors");
  });
});

describe("parse", () => {
  test.each([
    ["not JSON", "{"],
    ["no object", "3"],
    ["no type", "{}"],
    ["an unknown type", '{"type":"Format"}'],
    ["a page's own message", '{"type":"Pong","sequence":1,"progress":0,"running":0}'],
    ["a missing field", '{"type":"Ping"}'],
    ["an extra field", '{"type":"Ping","sequence":1,"more":2}'],
    [
      "an extra field in an asset",
      '{"type":"Load","id":1,"model":"m","format":"onnx","precision":"fp32","assets":[{"sha256":"","size_bytes":0,"name":"","x":1}],"inputs":[],"outputs":[]}',
    ],
    ["tensors that are no list", '{"type":"Echo","id":1,"tensors":{}}'],
  ])("refuses %s", (_, json) => {
    expect(() => parse(json)).toThrow(FrameError);
  });

  test("leaves optional fields out", () => {
    expect(parse('{"type":"Bye"}')).toEqual({ type: "Bye" });
  });
});
