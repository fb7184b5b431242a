// What the server still has to run of its timeline. It is asked when the timeline changes, not again and again.
"use strict";

window.pp1 = window.pp1 || {};

window.pp1.Plan = class {
  static LISTED = 4;

  constructor(events) {
    this.entries = [];
    this.chunk = -1;
    events.on("timeline", () => this.load());
    events.on("open", () => this.load()); // whatever was missed meanwhile
  }

  async load() {
    try {
      this.entries = (await window.pp1.ask("GET", "/api/timeline")).entries;
    } catch {
      return; // the line to the server broke: the next opening asks again
    }
    this.draw();
  }

  // chunk: the newest one that has been generated.
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
