// The applied updates, newest first; a click picks one. Kept in the page, up to a limit.
"use strict";

window.pp1 = window.pp1 || {};

// A click on a chip. isCue: with a modifier key, or the other button, or held on a touch screen: load, do not apply.
window.pp1.onPick = (chip, pick) => {
  chip.addEventListener("click", (event) => pick(event.shiftKey || event.ctrlKey || event.metaKey || event.altKey));
  chip.addEventListener("contextmenu", (event) => {
    event.preventDefault();
    pick(true);
  });
};

window.pp1.History = class {
  static KEPT = 20;

  // onPick(update, event): an update was clicked.
  constructor(onPick) {
    this.onPick = onPick;
    this.updates = [];
    this.label = "";
    this.box = window.pp1.find("#pp1-history");
  }

  // An update that is already listed moves to the front. inPlace: the newest one has become this one.
  push(update, inPlace = false) {
    const same = JSON.stringify(update);
    const others = this.updates.slice(inPlace ? 1 : 0).filter((other) => JSON.stringify(other) !== same);
    this.updates = [update, ...others].slice(0, this.constructor.KEPT);
    this.draw();
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
      window.pp1.onPick(chip, (isCue) => this.onPick(update, isCue));
      return chip;
    });
    this.box.querySelector(".chips").replaceChildren(...chips);
    this.box.hidden = chips.length < 1;
  }
};
