// Shows the status of the newest update from the server's events: accepted, applied, on screen.
"use strict";

window.pp1 = window.pp1 || {};

window.pp1.Receipts = class {
  static KEPT = 50;

  constructor(events) {
    this.known = new Map();
    this.callbacks = new Map();
    this.shown = null;
    events.on("accepted", ({ update, truncated }) => {
      this.follow(update);
      this.note(update, { truncated });
    });
    events.on("applied", ({ update, chunk }) => this.note(update, { applied: chunk }));
    events.on("visible", ({ update, chunk, latency_ms, latency_chunks }) => {
      this.note(update, { applied: chunk, latency: latency_ms, chunks: latency_chunks });
    });
    events.on("superseded", ({ update }) => this.note(update, { ended: "replaced by a newer prompt" }));
    events.on("failed", ({ update, reason }) => update && this.note(update, { ended: reason }));
    events.onbroken = () => this.broken();
  }

  // onApplied: called once, when the update's first chunk has been planned.
  follow(id, onApplied) {
    this.shown = id;
    if (onApplied) this.callbacks.set(id, onApplied);
    this.note(id, {});
  }

  note(id, facts) {
    const known = Object.assign(this.known.get(id) || {}, facts);
    this.known.set(id, known);
    if (this.known.size > this.constructor.KEPT) this.known.delete(this.known.keys().next().value);
    if (known.applied !== undefined) this.callbacks.get(id)?.();
    if (known.applied !== undefined || known.ended) this.callbacks.delete(id);
    this.draw();
  }

  // Missed events are not sent again, so the rest of a pending update's status stays unknown.
  broken() {
    const known = this.known.get(this.shown);
    if (known && known.latency === undefined && !known.ended) known.ended = "the connection broke meanwhile";
    this.draw();
  }

  draw() {
    const { find, write, words } = window.pp1;
    const known = this.known.get(this.shown);
    if (!known) return;
    const show = (step, done, text) => {
      const item = find(`#pp1-receipt [data-step="${step}"]`);
      item.classList.toggle("done", done);
      write(item.querySelector("span"), text);
    };
    const applied = known.applied !== undefined;
    const visible = known.latency !== undefined;
    show("accepted", true, known.truncated ? `${this.shown} · too long, its end has no effect` : this.shown);
    show("applied", applied, applied ? `chunk ${known.applied}` : "");
    show("visible", visible, visible ? `${Math.round(known.latency)} ms · ${words.chunks(known.chunks)}` : known.ended || "");
    find("#pp1-receipt").classList.toggle("failed", !visible && Boolean(known.ended));
  }
};
