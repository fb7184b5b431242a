// What became of the newest update: accepted, applied, on screen. Hears it from the server's events.
"use strict";

window.pp1 = window.pp1 || {};

window.pp1.Receipts = class {
  static KEPT = 50;

  constructor(events) {
    this.known = new Map();
    this.waiting = new Map();
    this.shown = null;
    events.on("accepted", ({ update, truncated }) => {
      this.follow(update);
      this.note(update, { truncated });
    });
    events.on("applied", ({ update, chunk }) => this.note(update, { applied: chunk }));
    events.on("visible", ({ update, chunk, latency_ms, latency_chunks }) => {
      this.note(update, { applied: chunk, latency: latency_ms, chunks: latency_chunks });
    });
    events.on("superseded", ({ update }) => this.note(update, { ended: "a newer prompt came" }));
    events.on("failed", ({ update, reason }) => update && this.note(update, { ended: reason }));
    events.onbroken = () => this.broken();
  }

  // onApplied: called once, when the update's first chunk has been planned.
  follow(id, onApplied) {
    this.shown = id;
    if (onApplied) this.waiting.set(id, onApplied);
    this.note(id, {});
  }

  note(id, facts) {
    const known = Object.assign(this.known.get(id) || {}, facts);
    this.known.set(id, known);
    if (this.known.size > this.constructor.KEPT) this.known.delete(this.known.keys().next().value);
    if (known.applied !== undefined) this.waiting.get(id)?.();
    if (known.applied !== undefined || known.ended) this.waiting.delete(id);
    this.draw();
  }

  // Events are not repeated: what was under way can't be followed any more.
  broken() {
    const known = this.known.get(this.shown);
    if (known && known.latency === undefined && !known.ended) known.ended = "the line broke meanwhile";
    this.draw();
  }

  draw() {
    const { find, write, words } = window.pp1;
    const known = this.known.get(this.shown);
    if (!known) return;
    const say = (step, done, text) => {
      const item = find(`#pp1-receipt [data-step="${step}"]`);
      item.classList.toggle("done", done);
      write(item.querySelector("span"), text);
    };
    const applied = known.applied !== undefined;
    const visible = known.latency !== undefined;
    say("accepted", true, known.truncated ? `${this.shown} · too long, its end has no effect` : this.shown);
    say("applied", applied, applied ? `chunk ${known.applied}` : "");
    say("visible", visible, visible ? `${Math.round(known.latency)} ms · ${words.chunks(known.chunks)}` : known.ended || "");
    find("#pp1-receipt").classList.toggle("failed", !visible && Boolean(known.ended));
  }
};
