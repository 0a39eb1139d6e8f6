// SPDX-License-Identifier: Apache-2.0
// The page's main thread: connection, heartbeat, framing. It computes nothing, so that it
// answers while the compute thread is busy.
import type { FromHost } from "../generated/messages";
import { toPageError } from "../wire/errors";
import { FrameError } from "../wire/frames";
import { Inbox, type Received } from "../wire/inbox";
import { Outbox } from "../wire/outbox";
import { ComputeThread } from "./compute-thread";
import { channelOf, closeCode, connect, handshake, hello } from "./socket";
import { View } from "./view";

class Page {
  readonly #socket: WebSocket;
  readonly #view: View;
  readonly #inbox = new Inbox();
  readonly #outbox: Outbox;
  #compute: ComputeThread | null = null;

  constructor(socket: WebSocket, view: View) {
    this.#socket = socket;
    this.#view = view;
    this.#outbox = new Outbox(channelOf(socket));
    socket.onmessage = (event: MessageEvent<unknown>) => {
      this.#receive(event.data);
    };
    socket.onclose = (event) => {
      this.#compute?.terminate();
      if (view.state !== "failed") view.show("closed", event.reason);
    };
    this.#outbox.send(hello());
  }

  #receive(data: unknown): void {
    try {
      if (!(data instanceof ArrayBuffer)) throw new FrameError("a text frame");
      const delivery = this.#inbox.accept(data);
      if (delivery !== null) this.#handle(delivery.message, delivery.tensors);
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      // A close reason is at most 123 bytes of UTF-8.
      this.#socket.close(closeCode(error.code), error.message.replace(/[^ -~]/g, "?").slice(0, 120));
    }
  }

  #handle(message: FromHost, tensors: Received[]): void {
    if (message.type === "Ping") {
      const { progress = 0, running = 0 } = this.#compute ?? {};
      this.#outbox.send({ type: "Pong", sequence: message.sequence, progress, running });
    } else if (message.type === "Welcome") {
      if (this.#compute !== null) throw new FrameError("a second Welcome");
      this.#view.engine(message.engine);
      this.#view.show("loading");
      const compute = this.#start(message);
      this.#view.watch(() => compute);
      this.#compute = compute;
    } else if (this.#compute === null) {
      throw new FrameError(`${message.type} before Welcome`);
    } else if (message.type === "Cancel") {
      this.#compute.cancel(message.id, message.grace_ms ?? undefined);
    } else if (message.type === "Renew") {
      this.#compute.renew(message.id);
    } else if (message.type === "Reopen") {
      this.#compute.terminate();
      // Only the fragment differs, so going there would not load anything.
      history.replaceState(null, "", message.url);
      location.reload();
    } else if (message.type === "Bye") {
      void this.#compute.dispose().then(() => {
        this.#socket.close(1000, "bye");
      });
    } else {
      this.#compute.request(message, tensors);
    }
  }

  #start(welcome: FromHost & { type: "Welcome" }): ComputeThread {
    return new ComputeThread(welcome, {
      ready: (message) => {
        this.#view.engine(`${welcome.engine} (${message.engine_version})`);
        this.#view.show("ready");
        this.#outbox.send(message);
      },
      answer: (message, tensors) => {
        this.#outbox.send(message, tensors);
      },
      failed: (id, error) => {
        this.#outbox.send({ type: "Failed", id, error });
        if (id === null) this.#view.show("failed", error.message);
      },
      notice: (event, message, data) => {
        this.#outbox.send({ type: "Notice", event, message, data });
        if (event === "device_lost") this.#view.show("recovering", message);
        if (event === "device_restored") this.#view.show("ready");
      },
    });
  }
}

const view = new View();
if (location.hash.length > 1) {
  view.show("connecting");
  try {
    new Page(await connect(await handshake()), view);
  } catch (error) {
    view.show("failed", toPageError(error).message);
  }
} else {
  view.show("idle", " ");
}
