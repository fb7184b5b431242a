// Speaks HTTP to the server. Knows the interface's form: JSON in, JSON out, a refusal is one line.
"use strict";

window.pp1 = window.pp1 || {};

// The key of this tab's lease, kept while the tab is loaded again; empty where there is none.
window.pp1.key = {
  NAME: "pp1-lease",
  get value() {
    return sessionStorage.getItem(this.NAME) || "";
  },
  set value(key) {
    sessionStorage.setItem(this.NAME, key);
  },
};

window.pp1.ask = async (method, path, body) => {
  const { value: key } = window.pp1.key;
  const answer = await fetch(path, {
    method,
    cache: "no-store",
    headers: { ...(body !== undefined && { "Content-Type": "application/json" }), ...(key && { "PP1-Lease": key }) },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(await window.pp1.reason(answer));
  return answer.json();
};

// One line from an answer that is not what was asked for.
window.pp1.reason = async (answer) => {
  try {
    return (await answer.json()).error || `HTTP ${answer.status}`;
  } catch {
    return `HTTP ${answer.status}`;
  }
};

// Does it, and says in `box` why it could not be done.
window.pp1.attempt = async (box, action) => {
  try {
    await action();
    box.hidden = true;
  } catch (error) {
    box.textContent = error instanceof TypeError ? "The server can't be reached." : error.message;
    box.hidden = false;
  }
};

// What the server says happens, to whoever wants to hear of it; the line is opened again whenever it breaks.
window.pp1.Events = class {
  static RETRY_MS = 2000;

  constructor() {
    this.takers = new Map();
    this.onbroken = () => {};
  }

  // name: one of the server's events, or "open" for a line that stands, anew or for the first time.
  on(name, take) {
    this.takers.set(name, [...(this.takers.get(name) || []), take]);
  }

  open() {
    const source = new EventSource("/api/events");
    for (const [name, takers] of this.takers) {
      if (name === "open") continue;
      source.addEventListener(name, (message) => {
        const event = JSON.parse(message.data);
        takers.forEach((take) => take(event));
      });
    }
    source.onopen = () => (this.takers.get("open") || []).forEach((take) => take());
    source.onerror = () => {
      this.onbroken();
      if (source.readyState === EventSource.CLOSED) setTimeout(() => this.open(), this.constructor.RETRY_MS);
    };
    window.addEventListener("pagehide", () => source.close(), { once: true });
  }
};
