// The seed: its field, a dice, and Reset, which goes back to the seed of the run. An error stands at the field.
"use strict";

window.pp1 = window.pp1 || {};

window.pp1.Seed = class {
  // onSet(seed): the server has accepted it.
  constructor(onSet) {
    const { find } = window.pp1;
    this.onSet = onSet;
    this.field = find("#pp1-seed input");
    this.error = find("#pp1-seed-error");
    this.shown = "";
    find("#pp1-set-seed").addEventListener("click", () => this.setTyped());
    find("#pp1-reset").addEventListener("click", () => this.set(this.ofRun));
    find("#pp1-dice").addEventListener("click", () => this.set(crypto.getRandomValues(new Uint32Array(1))[0] >>> 1));
    this.field.addEventListener("keydown", (event) => event.key === "Enter" && this.setTyped());
    this.field.addEventListener("input", () => this.mark());
  }

  // A refused one does not stay in the field, which shows the stream's.
  async setTyped() {
    const text = this.field.value.trim();
    const done = await window.pp1.attempt(this.error, async () => {
      if (!/^\d+$/.test(text)) throw new Error(`${text ? `“${text}” is no seed` : "That is no seed"}: a whole number from 0 is needed.`);
      if (!Number.isSafeInteger(Number(text))) throw new Error(`“${text}” is too large for a seed.`);
      await this.send(Number(text));
    });
    if (!done) this.field.value = this.shown;
    this.mark();
  }

  // Raises nothing: an error is shown.
  set(seed) {
    return window.pp1.attempt(this.error, () => this.send(seed));
  }

  async send(seed) {
    await window.pp1.request("POST", "/api/control", { action: "seed", value: seed });
    this.show(String(seed));
    this.onSet(seed);
  }

  show(text) {
    this.field.value = this.shown = text;
    this.mark();
  }

  // Whether what is typed has not been set.
  mark() {
    window.pp1.find("#pp1-seed").classList.toggle("typed", this.field.value.trim() !== this.shown);
  }

  draw({ seed, config }) {
    this.ofRun = config?.seed ?? seed;
    const isTyped = document.activeElement === this.field || this.field.value.trim() !== this.shown;
    if (this.shown === String(seed)) return;
    if (isTyped) this.shown = String(seed);
    else this.show(String(seed));
    this.mark();
  }
};
