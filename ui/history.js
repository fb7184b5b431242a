// The applied updates, newest first; a click applies one again. Kept in the page, up to a limit.
"use strict";

window.pp1 = window.pp1 || {};

window.pp1.History = class {
  static KEPT = 20;

  // onPick(update): an update was clicked.
  constructor(onPick) {
    this.onPick = onPick;
    this.updates = [];
    this.label = "";
    this.box = window.pp1.find("#pp1-history");
  }

  // An update that is already listed moves to the front.
  push(update) {
    const same = JSON.stringify(update);
    this.updates = [update, ...this.updates.filter((other) => JSON.stringify(other) !== same)].slice(0, this.constructor.KEPT);
    this.draw();
  }

  // Pick the one before the newest.
  back() {
    if (this.updates.length > 1) this.onPick(this.updates[1]);
  }

  // label: what the stream shows, as the server names it.
  setShown(label) {
    if (label === this.label) return;
    this.label = label;
    this.draw();
  }

  draw() {
    const { make, words } = window.pp1;
    const now = this.updates.findIndex((update) => words.label(update) === this.label);
    const chips = this.updates.map((update, index) => {
      const text = words.prompts(update);
      const manner = words.manner(update);
      const chip = make("button", { type: "button", title: [text, manner].filter(Boolean).join(" · ") }, text);
      if (manner) chip.append(make("small", {}, manner));
      if (index === now) chip.setAttribute("aria-current", "true");
      chip.addEventListener("click", () => this.onPick(update));
      return chip;
    });
    this.box.querySelector(".chips").replaceChildren(...chips);
    this.box.hidden = chips.length < 1;
  }
};
