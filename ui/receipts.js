// Shows the status of the newest update from the server's events: accepted, applied, on screen.
"use strict";

window.pp1 = window.pp1 || {};

window.pp1.Receipts = class {
  static KEPT = 50;

  // onLatency(update, ms): the newest prompt's first frame is on its way to the viewers.
  constructor(events, onLatency) {
    this.onLatency = onLatency;
    this.known = new Map();
    this.callbacks = new Map();
    this.shown = null;
    events.on("accepted", ({ update, prompt, read_chars }) => {
      this.follow(update);
      this.note(update, { cutTo: read_chars === undefined ? undefined : this.readPart(prompt, read_chars) });
    });
    events.on("applied", ({ update, chunk }) => this.note(update, { applied: chunk }));
    events.on("visible", ({ update, chunk, latency_ms, latency_chunks }) => {
      this.note(update, { applied: chunk, latency: latency_ms, chunks: latency_chunks });
      if (update === this.shown) this.onLatency(update, latency_ms);
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

  // How much of a prompt has an effect. chars: Unicode's, of which people may see fewer.
  readPart(prompt, chars) {
    return window.pp1.words.visible([...prompt].slice(0, chars).join(""));
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
    show("accepted", true, known.cutTo === undefined ? this.shown : `${this.shown} · long: its first ${known.cutTo} characters count`);
    show("applied", applied, applied ? `chunk ${known.applied}` : "");
    show("visible", visible, visible ? `${Math.round(known.latency)} ms · ${words.chunks(known.chunks)}` : known.ended || "");
    find("#pp1-receipt").classList.toggle("failed", !visible && Boolean(known.ended));
  }
};
