// The form of an update: the prompt, more prompts with weights, how they blend, transition and cut.
"use strict";

window.pp1 = window.pp1 || {};

window.pp1.Composer = class {
  static CUTS = {
    soft: "The history is kept.",
    hard: "The history is dropped: a new start.",
    recache: "The history is recomputed with the new prompt.",
  };

  // onApply(): Enter was pressed in a field of the form. onWeigh(): a slider moves. onTyped(texts): the prompts changed.
  constructor({ onApply, onWeigh, onTyped }) {
    const { find } = window.pp1;
    this.onTyped = onTyped;
    this.onWeigh = onWeigh;
    this.prompt = find("#pp1-prompt textarea");
    this.box = find("#pp1-mix");
    this.rows = find("#pp1-rows");
    this.add = find("#pp1-add");
    this.blend = find("#pp1-blend");
    this.steps = find("#pp1-steps");
    this.unit = find("#pp1-unit");
    this.method = find("#pp1-method");
    this.maxSteps = Number(this.steps.max);
    this.chunkSeconds = 0; // unknown until the server has said so
    this.typed = false;
    this.first = this.weigh(this.rows.querySelector(".row"));
    this.add.addEventListener("click", () => {
      this.addRow().text.focus();
      this.changed();
    });
    find("#pp1-plain").addEventListener("click", () => {
      this.show({ prompt: this.prompt.value });
      this.changed();
    });
    this.unit.addEventListener("change", () => this.convert());
    this.box.addEventListener("input", () => this.changed());
    this.prompt.addEventListener("input", (event) => event.isTrusted && this.changed()); // others are the page's own
    const draft = window.pp1.draft.read();
    if (draft) this.restore(draft);
    for (const [name, event] of [["#pp1-prompt", this.prompt], ["#pp1-mix", this.box]]) {
      event.addEventListener("keydown", (key) => this.entered(key, name === "#pp1-prompt") && onApply());
    }
    this.draw();
  }

  // Whether a key applies the form: Enter in a text field, Ctrl+Enter anywhere. Buttons, radios and summaries use Enter.
  entered(event, isPrompt) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return false;
    const modified = event.ctrlKey || event.metaKey;
    if (!modified && !isPrompt && !event.target.matches("input:not([type=radio])")) return false;
    event.preventDefault();
    event.stopPropagation();
    return true;
  }

  // A person has changed the form.
  changed() {
    this.typed = true;
    this.draw();
    window.pp1.draft.save({ ...this.update(), unit: this.unit.value, steps: this.steps.value, open: this.box.open });
  }

  // What was changed has been applied, or is given up.
  settle() {
    this.typed = false;
    window.pp1.draft.drop();
  }

  restore({ unit, steps, open, ...update }) {
    this.show(update);
    this.unit.value = unit;
    this.steps.value = steps;
    this.box.open = open;
    this.typed = true;
  }

  weigh(row, weight = 50) {
    const slider = row.querySelector("input[type=range]");
    slider.value = weight;
    if (!slider.dataset.heard) slider.addEventListener("input", () => this.onWeigh());
    slider.dataset.heard = true;
    return { row, slider, share: row.querySelector("output"), text: row.querySelector("input[type=text]") };
  }

  others() {
    return [...this.rows.querySelectorAll(".row:not(:first-child)")].map((row) => row.parts);
  }

  all() {
    return [this.first, ...this.others()];
  }

  addRow(text = "", weight = 50) {
    const { make } = window.pp1;
    const row = make(
      "div",
      { className: "row" },
      make("input", { type: "text", value: text, maxLength: this.prompt.maxLength, placeholder: "Another prompt" }),
      make("input", { type: "range", min: 0, max: 100, step: 1 }),
      make("output"),
      make("button", { type: "button", className: "remove", textContent: "×" }),
    );
    row.parts = this.weigh(row, weight);
    row.querySelector(".remove").addEventListener("click", () => {
      row.remove();
      this.changed();
      this.add.focus();
    });
    this.rows.append(row);
    this.draw();
    return row.parts;
  }

  // Update everything that depends on the inputs.
  draw() {
    const all = this.all();
    const { shares, manner } = window.pp1.words;
    const parts = shares(all.map(({ slider }) => Number(slider.value)));
    all.forEach(({ row, slider, share, text }, index) => {
      share.value = `${parts[index]} %`;
      slider.setAttribute("aria-label", `Weight of prompt ${index + 1}`);
      slider.setAttribute("aria-valuetext", share.value);
      text?.setAttribute("aria-label", `Prompt ${index + 1}`);
      row.querySelector(".remove")?.setAttribute("aria-label", `Remove prompt ${index + 1}`);
    });
    this.rows.dataset.count = all.length;
    this.add.disabled = all.length >= this.rows.dataset.max;
    const slerp = this.blend.querySelector("[value=slerp]");
    slerp.disabled = all.length !== 2;
    if (slerp.disabled) this.blend.value = "linear";
    this.blend.disabled = all.length === 1;
    this.method.disabled = !(this.chunks > 1);
    this.drawSteps();
    this.onTyped(this.texts());
    window.pp1.write("#pp1-cut-means", this.constructor.CUTS[this.cut]);
    const summary = [all.length > 1 ? `${all.length} prompts` : "", manner(this.manner())].filter(Boolean);
    window.pp1.write(this.box.querySelector("summary span"), summary.join(" · "));
    window.pp1.find("#pp1-plain").hidden = !summary.length;
  }

  // The transition's limits and its other unit.
  drawSteps() {
    const { unit, steps, maxSteps, chunkSeconds } = this;
    const inSeconds = unit.value === "seconds";
    steps.max = inSeconds ? Math.floor(maxSteps * chunkSeconds) : maxSteps;
    steps.step = inSeconds ? "any" : 1;
    unit.disabled = !chunkSeconds;
    const { chunks, seconds } = window.pp1.words;
    const other = inSeconds ? chunks(this.chunks) : seconds(this.chunks * chunkSeconds);
    window.pp1.write("#pp1-steps-means", this.chunks > 0 && chunkSeconds ? `= ${other}` : "");
  }

  // seconds: how long a chunk is shown.
  setChunkSeconds(seconds) {
    if (!seconds || seconds === this.chunkSeconds) return;
    this.chunkSeconds = seconds;
    this.draw();
  }

  // The unit was changed: the transition stays as long as it is.
  convert() {
    const factor = this.unit.value === "seconds" ? this.chunkSeconds : 1 / this.chunkSeconds;
    const value = Number(this.steps.value) * factor;
    this.steps.value = this.unit.value === "seconds" ? Number(value.toFixed(2)) : Math.round(value);
    this.changed();
  }

  // The transition in chunks.
  get chunks() {
    const value = Number(this.steps.value);
    return this.unit.value === "seconds" ? Math.round(value / this.chunkSeconds) : value;
  }

  get cut() {
    return this.box.querySelector("[name=pp1-cut]:checked").value;
  }

  // Transition and cut, where they are not the default.
  manner() {
    const steps = this.chunks;
    return {
      ...(steps > 0 && { transition: { steps, method: this.method.value } }),
      ...(this.cut !== "soft" && { cut: this.cut }),
    };
  }

  // All prompts, as they are typed.
  texts() {
    return [this.prompt, ...this.others().map(({ text }) => text)].map((field) => field.value.trim());
  }

  // The form as an update, whether it can be sent or not.
  update() {
    const texts = this.texts();
    if (texts.length === 1) return { prompt: texts[0], ...this.manner() };
    return { prompts: this.weighted(texts), blend: this.blend.value, ...this.manner() };
  }

  weighted(texts) {
    const weights = this.all().map(({ slider }) => Number(slider.value) / 100);
    return texts.map((text, index) => ({ text, weight: weights[index] }));
  }

  // The blend alone: no transition, and the history stays. Null where nothing is blended.
  blended() {
    const texts = this.texts();
    return texts.length > 1 ? { prompts: this.weighted(texts), blend: this.blend.value } : null;
  }

  // The update to send. Throws an error of one line for invalid inputs.
  read() {
    const texts = this.texts();
    if (!texts[0]) throw new Error("Type a prompt first.");
    const empty = texts.indexOf("");
    if (empty > 0) throw new Error(`Prompt ${empty + 1} is empty: fill it in or remove it.`);
    if (!this.steps.validity.valid || !(this.chunks >= 0)) {
      const what = this.unit.value === "seconds" ? "seconds" : "whole chunks";
      throw new Error(`A transition has ${this.steps.min} to ${this.steps.max} ${what}.`);
    }
    return this.update();
  }

  // Fill the whole form from an update.
  show({ prompt, prompts = [], blend = "linear", transition = {}, cut = "soft" }) {
    this.showPrompts(prompts.length ? prompts : [{ text: prompt || "" }]);
    this.blend.value = blend;
    const steps = transition.steps ?? 0;
    this.steps.value = this.unit.value === "seconds" ? Number((steps * this.chunkSeconds).toFixed(2)) : steps;
    this.method.value = transition.method ?? "linear";
    this.box.querySelector(`[name=pp1-cut][value=${cut}]`).checked = true;
    this.draw();
  }

  // Fill in the prompts only; transition and cut stay.
  showPrompts(prompts) {
    const largest = Math.max(1, ...prompts.map(({ weight = 1 }) => weight));
    const top = prompts.length > 1 ? 100 : 50; // a single prompt leaves room for a larger weight
    const sliders = prompts.map(({ weight = 1 }) => Math.round((top * weight) / largest));
    this.others().forEach(({ row }) => row.remove());
    this.prompt.value = prompts[0].text;
    this.prompt.dispatchEvent(new Event("input", { bubbles: true })); // Gradio has its own copy of the text
    this.first.slider.value = sliders[0];
    prompts.slice(1).forEach(({ text }, index) => this.addRow(text, sliders[index + 1]));
    this.draw();
  }

  // Whether the prompt is empty and not being typed.
  get free() {
    return !this.typed && !this.prompt.value && document.activeElement !== this.prompt;
  }
};
