// SPDX-License-Identifier: Apache-2.0

export type State = "idle" | "connecting" | "loading" | "ready" | "recovering" | "closed" | "failed";

const WORDS: Readonly<Record<State, string>> = {
  idle: "Nothing to do: accelerate opens this page itself",
  connecting: "Connecting",
  loading: "Loading the engine",
  ready: "Ready",
  recovering: "Recovering",
  closed: "Closed: you can close this tab",
  failed: "Failed",
};

/** Shows people who look at the page what it does. */
export class View {
  #state: State = "idle";
  #requests = "";

  constructor() {
    set("browser", navigator.userAgent);
  }

  get state(): State {
    return this.#state;
  }

  show(state: State, detail = ""): void {
    if (state === this.#state && detail === "") return;
    this.#state = state;
    document.body.dataset["state"] = state;
    set("state", WORDS[state]);
    set("detail", detail);
    document.title = `accelerate: ${WORDS[state].toLowerCase()}`;
  }

  engine(text: string): void {
    set("engine", text);
  }

  /** Keep the count of requests up to date, twice a second: never per request. */
  watch(counts: () => { running: number; answered: number }): void {
    setInterval(() => {
      const { running, answered } = counts();
      const text = `${answered} answered, ${running} running`;
      if (text !== this.#requests) set("requests", text);
      this.#requests = text;
    }, 500);
  }
}

function set(id: string, text: string): void {
  const element = document.getElementById(id);
  if (element !== null) element.textContent = text;
}
