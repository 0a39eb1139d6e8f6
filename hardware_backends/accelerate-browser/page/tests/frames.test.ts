// SPDX-License-Identifier: Apache-2.0
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CHUNK_BYTES, HEADER_BYTES, MAX_FRAME_BYTES } from "../src/generated/messages";
import { Assembler, decodeFrame, encodeChunk, encodeMessage, FrameError, TOO_BIG } from "../src/wire/frames";

const bytes = fc.uint8Array({ maxLength: 300 });

function chunk(stream: number, offset: number, data: Uint8Array, isLast: boolean): ArrayBuffer {
  const frame = new Uint8Array(HEADER_BYTES + data.length);
  encodeChunk(frame, stream, offset, data, isLast);
  return frame.buffer;
}

function accept(assembler: Assembler, buffer: ArrayBuffer): Uint8Array | null {
  const frame = decodeFrame(buffer);
  if (frame.kind !== "chunk") throw new Error("not a chunk");
  return assembler.accept(frame);
}

describe("messages", () => {
  test("come back as they went, each part aligned", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), fc.array(bytes), (json, parts) => {
        const frame = decodeFrame(encodeMessage(json, parts).buffer);
        if (frame.kind !== "message") throw new Error("not a message");
        expect(frame.json).toBe(json);
        expect(frame.inline.byteOffset % 8).toBe(0);
        let offset = 0;
        for (const part of parts) {
          offset = Math.ceil(offset / 8) * 8;
          expect(frame.inline.subarray(offset, offset + part.length)).toEqual(part);
          offset += part.length;
        }
        expect(frame.inline.length).toBe(offset);
      }),
    );
  });

  test("are the bytes that the Python codec writes", () => {
    // accelerate_browser.frames.encode_message(b'{"a":1}', [b"\x01\x02", b"\x03"]).hex()
    const python = "ac010100070000000900000000000000" + "7b2261223a317d00" + "0102000000000000" + "03";
    const frame = encodeMessage('{"a":1}', [Uint8Array.of(1, 2), Uint8Array.of(3)]);
    expect(Buffer.from(frame).toString("hex")).toBe(python);
  });

  test("that are too large are refused with their own close code", () => {
    const huge = new Uint8Array(MAX_FRAME_BYTES);
    expect(() => encodeMessage("{}", [huge])).toThrow(expect.objectContaining({ code: TOO_BIG }) as Error);
    expect(() => decodeFrame(new ArrayBuffer(MAX_FRAME_BYTES + 1))).toThrow(FrameError);
  });
});

describe("decoding", () => {
  test("never throws anything but FrameError", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), fc.boolean(), (noise, hasMagic) => {
        const frame = Uint8Array.from(noise);
        if (hasMagic && frame.length > 2) frame.set([0xac, 1, 1 + ((frame[2] ?? 0) % 2)]);
        try {
          decodeFrame(frame.buffer);
        } catch (error) {
          expect(error).toBeInstanceOf(FrameError);
        }
      }),
    );
  });

  test.each([
    ["a wrong magic", 0, 0xad],
    ["another version", 1, 2],
    ["an unknown kind", 2, 3],
    ["unknown flags", 3, 1],
    ["a wrong length", 4, 99],
    ["padding that is not zero", 23, 1],
  ])("refuses %s", (_, index, value) => {
    const frame = encodeMessage('{"a":1}', [Uint8Array.of(1)]);
    frame[index] = value;
    expect(() => decodeFrame(frame.buffer)).toThrow(FrameError);
  });
});

describe("streams", () => {
  test("interleave and come out whole", () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 50 }), { minLength: 1, maxLength: 5 }),
        fc.integer({ min: 1, max: 9 }),
        (streams, size) => {
          const assembler = new Assembler();
          streams.forEach((data, i) => {
            assembler.announce(i + 1, data.length);
          });
          const offsets = streams.map(() => 0);
          const done: Uint8Array[] = [];
          while (offsets.some((offset, i) => offset < (streams[i]?.length ?? 0))) {
            streams.forEach((data, i) => {
              const offset = offsets[i] ?? 0;
              if (offset >= data.length) return;
              const part = data.subarray(offset, offset + size);
              const whole = accept(
                assembler,
                chunk(i + 1, offset, part, offset + part.length === data.length),
              );
              if (whole !== null) done[i] = whole;
              offsets[i] = offset + part.length;
            });
          }
          expect(done).toEqual(streams);
        },
      ),
    );
  });

  test("refuse what was not announced, is out of order, too long or too short", () => {
    const data = new Uint8Array(10);
    const open = () => {
      const assembler = new Assembler();
      assembler.announce(1, 10);
      return assembler;
    };
    expect(() => accept(open(), chunk(2, 0, data, true))).toThrow("not open");
    expect(() => accept(open(), chunk(1, 5, data.subarray(5), true))).toThrow("was due");
    expect(() => accept(open(), chunk(1, 0, new Uint8Array(11), true))).toThrow("does not end");
    expect(() => accept(open(), chunk(1, 0, data.subarray(5), true))).toThrow("does not end");
    expect(() => accept(open(), chunk(1, 0, data, false))).toThrow("does not end");
    expect(() => {
      open().announce(1, 10);
    }).toThrow("announced after");
    expect(() => {
      open().announce(2, 0);
    }).toThrow(FrameError);
    expect(() => {
      const assembler = new Assembler();
      for (let stream = 1; stream <= 65; stream += 1) assembler.announce(stream, 1);
    }).toThrow("open streams");
  });

  test("carry a full chunk in one frame", () => {
    expect(HEADER_BYTES + CHUNK_BYTES).toBeLessThanOrEqual(MAX_FRAME_BYTES);
  });
});
