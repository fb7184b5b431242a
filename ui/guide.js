// What the model understands, and a gentle word about what it does not. Only for models whose files say so.
"use strict";

window.pp1 = window.pp1 || {};

window.pp1.Guide = class {
  static NAMED = 5; // unknown words that are named; more are counted
  static PAUSE_MS = 400; // a word is not called unknown while it is being typed

  constructor() {
    this.words = new Set();
    this.box = window.pp1.find("#pp1-guide");
    this.hint = window.pp1.find("#pp1-hint");
    this.load();
  }

  async load() {
    const { summary, words } = await window.pp1.request("GET", "/api/prompt/guide").catch(() => ({}));
    if (!summary) return;
    this.words = new Set(words);
    window.pp1.write(this.box.querySelector("p"), summary);
    this.box.hidden = false;
    this.draw();
  }

  // The words of texts that the model was not trained on, once each.
  unknown(texts) {
    if (!this.words.size) return [];
    const all = texts.flatMap((text) => text.toLowerCase().match(/[\p{L}\p{M}\p{N}]+/gu) ?? []);
    return [...new Set(all)].filter((word) => !this.words.has(word));
  }

  // texts: all prompts of the form, as they are now.
  typed(texts) {
    this.texts = texts;
    clearTimeout(this.later);
    this.later = setTimeout(() => this.draw(), this.constructor.PAUSE_MS);
  }

  draw() {
    const words = this.unknown(this.texts ?? []);
    const { NAMED } = this.constructor;
    const more = words.length > NAMED ? ` and ${words.length - NAMED} more` : "";
    const named = words.slice(0, NAMED).join(", ");
    window.pp1.write(this.hint, words.length ? `New to this model: ${named}${more}. It may show something else.` : "");
    this.hint.hidden = !words.length;
  }
};
