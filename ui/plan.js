// Shows the timeline entries that the server has not reached. Requested only when the timeline changes.
"use strict";

window.pp1 = window.pp1 || {};

window.pp1.Plan = class {
  static LISTED = 4;

  constructor(events) {
    this.entries = [];
    this.chunk = -1;
    events.on("timeline", () => this.load());
    events.on("open", () => this.load()); // to catch up with missed events
  }

  async load() {
    try {
      this.entries = (await window.pp1.request("GET", "/api/timeline")).entries;
    } catch {
      return; // the connection broke: loaded again when it is back
    }
    this.draw();
  }

  // chunk: the newest generated one.
  reached(chunk) {
    if (chunk === this.chunk) return;
    this.chunk = chunk;
    this.draw();
  }

  draw() {
    const { find, make, write, words } = window.pp1;
    this.entries = this.entries.filter((entry) => entry.chunk > this.chunk);
    const { LISTED } = this.constructor;
    const lines = this.entries.slice(0, LISTED).map((entry) => {
      const seed = entry.seed === undefined ? "" : `seed ${entry.seed}`;
      const what = [words.prompts(entry), words.manner(entry), seed].filter(Boolean).join(" · ");
      return make("li", {}, make("b", {}, `in ${words.chunks(entry.chunk - this.chunk)}`), make("span", { title: what }, what));
    });
    const more = this.entries.length - LISTED;
    if (more > 0) lines.push(make("li", {}, make("b", {}, ""), make("span", {}, `and ${more} more`)));
    find("#pp1-coming").replaceChildren(...lines);
    find("#pp1-coming").hidden = !lines.length;
    find("#pp1-clear").disabled = !lines.length;
    write("#pp1-timeline summary span", lines.length ? `${this.entries.length} to come` : "");
  }
};
