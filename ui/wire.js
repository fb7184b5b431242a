// HTTP requests to the server: JSON in, JSON out, and an error is one line.
"use strict";

window.pp1 = window.pp1 || {};

// The key of this tab's lease. It survives a reload of the tab; empty if there is none.
window.pp1.key = {
  NAME: "pp1-lease",
  get value() {
    return sessionStorage.getItem(this.NAME) || "";
  },
  set value(key) {
    sessionStorage.setItem(this.NAME, key);
  },
};

// The address of a path of the server, which may be below a path of a reverse proxy, as the page is.
window.pp1.url = (path) => new URL(path.slice(1), document.baseURI).href;

window.pp1.request = async (method, path, body) => {
  const { value: key } = window.pp1.key;
  const response = await fetch(window.pp1.url(path), {
    method,
    cache: "no-store",
    headers: { ...(body !== undefined && { "Content-Type": "application/json" }), ...(key && { "PP1-Lease": key }) },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (!response.ok) throw new Error(await window.pp1.reason(response));
  return response.json();
};

// The error line of a response.
window.pp1.reason = async (response) => {
  try {
    return (await response.json()).error || `HTTP ${response.status}`;
  } catch {
    return `HTTP ${response.status}`;
  }
};

// Run an action. If it fails, show the error in `box` and return false.
window.pp1.attempt = async (box, action) => {
  try {
    await action();
    box.hidden = true;
    return true;
  } catch (error) {
    box.textContent = error instanceof TypeError ? "The server can't be reached." : error.message;
    box.hidden = false;
    return false;
  }
};

// Calls listeners for the server's events. Opens the connection again when it breaks.
window.pp1.Events = class {
  static RETRY_MS = 2000;
  static READY_MS = 3000;

  constructor() {
    this.listeners = new Map();
    this.source = null;
    this.onbroken = () => {};
    window.addEventListener("pageshow", ({ persisted }) => persisted && this.open()); // the way back to a page that was left
  }

  // name: an event of the server, or "open" for a connection that has been opened.
  on(name, listener) {
    this.listeners.set(name, [...(this.listeners.get(name) || []), listener]);
  }

  // Resolves when the connection is open: what is changed from then on is heard of. Gives up after a while.
  async ready() {
    if (this.source?.readyState === EventSource.CLOSED) this.open();
    const until = performance.now() + this.constructor.READY_MS;
    while (this.source?.readyState === EventSource.CONNECTING && performance.now() < until) {
      await new Promise((done) => setTimeout(done, 50));
    }
  }

  open() {
    clearTimeout(this.retry);
    const source = (this.source = new EventSource(window.pp1.url("/api/events")));
    for (const [name, listeners] of this.listeners) {
      if (name === "open") continue;
      source.addEventListener(name, (message) => {
        const event = JSON.parse(message.data);
        listeners.forEach((listener) => listener(event));
      });
    }
    source.onopen = () => (this.listeners.get("open") || []).forEach((listener) => listener());
    source.onerror = () => {
      this.onbroken();
      if (source.readyState === EventSource.CLOSED && source === this.source) {
        this.retry = setTimeout(() => this.open(), this.constructor.RETRY_MS);
      }
    };
    window.addEventListener("pagehide", () => source.close(), { once: true });
  }
};
