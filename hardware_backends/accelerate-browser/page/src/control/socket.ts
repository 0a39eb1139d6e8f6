// SPDX-License-Identifier: Apache-2.0
import { PROTOCOL, type Hello } from "../generated/messages";
import { POLICY_VIOLATION, TOO_BIG } from "../wire/frames";
import type { Channel } from "../wire/outbox";

const HIGH_WATER_BYTES = 8 << 20;

/** Trade the one-time token of the URL's fragment for a connection; returns its id. */
export async function handshake(): Promise<string> {
  const token = location.hash.slice(1);
  // A token works once; left in the address bar it would only be copied around.
  history.replaceState(null, "", location.pathname);
  const response = await fetch("/handshake", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ token }),
    credentials: "same-origin",
  });
  if (!response.ok)
    throw new Error(`The host refused this page: ${response.status} ${await response.text()}`);
  const answer = (await response.json()) as { connection: string };
  return answer.connection;
}

/** Open the connection's WebSocket. */
export async function connect(connection: string): Promise<WebSocket> {
  const url = new URL("/socket", location.href);
  url.protocol = "ws:";
  url.searchParams.set("connection", connection);
  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  await new Promise<void>((resolve, reject) => {
    socket.onopen = () => {
      resolve();
    };
    socket.onclose = (event) => {
      reject(new Error(`The host closed the connection: ${event.code} ${event.reason}`));
    };
  });
  return socket;
}

/** Return what this page is, before any engine is loaded. */
export function hello(): Hello {
  return {
    type: "Hello",
    protocol: PROTOCOL,
    user_agent: navigator.userAgent,
    cross_origin_isolated: crossOriginIsolated,
    hardware_concurrency: navigator.hardwareConcurrency,
    has: {
      gpu: "gpu" in navigator,
      ml: "ml" in navigator,
      opfs: "storage" in navigator && "getDirectory" in navigator.storage,
      jspi: "Suspending" in WebAssembly,
      shared_memory: "SharedArrayBuffer" in globalThis,
    },
  };
}

/** Wrap a WebSocket as what the outbox sends to. */
export function channelOf(socket: WebSocket): Channel {
  return {
    send: (data) => {
      socket.send(data);
    },
    get bufferedAmount() {
      return socket.bufferedAmount;
    },
    get isOpen() {
      return socket.readyState === WebSocket.OPEN;
    },
    // A hidden tab's timers fire once a second: waiting there would throttle the transfer.
    get highWater() {
      return document.hidden ? HIGH_WATER_BYTES * 32 : HIGH_WATER_BYTES;
    },
    pause: () => new Promise((resolve) => setTimeout(resolve, 0)),
  };
}

/** Return the close code a script may use for one of RFC 6455, which it may not: 1002 is 4002. */
export function closeCode(code: number): number {
  return code === TOO_BIG ? 4009 : code === POLICY_VIOLATION ? 4008 : 4002;
}
