// The control lease: shows who holds it, and takes, requests, renews, releases or hands it over. The key is kept per tab.
"use strict";

window.pp1 = window.pp1 || {};

window.pp1.Lease = class {
  static RENEW_MS = 3000;
  static NAME = "pp1-name"; // kept by the browser, for all its tabs
  static LOCKED = "#pp1-apply, #pp1-controls button, #pp1-controls input, #pp1-run, #pp1-clear, #pp1-record";

  // onChange(): called after the holder may have changed.
  constructor(onChange) {
    this.onChange = onChange;
    this.status = window.pp1.find("#pp1-holder");
    this.button = window.pp1.find("#pp1-lease");
    this.name = window.pp1.find("#pp1-name");
    this.name.value = localStorage.getItem(this.constructor.NAME) || "";
    this.name.addEventListener("change", () => this.rename());
    this.name.addEventListener("keydown", (event) => event.key === "Enter" && window.pp1.find("#pp1-me").hidePopover());
    this.own = null;
    this.state = { holder: null, waiting: [] };
    this.drawName();
    setInterval(() => window.pp1.key.value && this.renew(), this.constructor.RENEW_MS);
    if (window.pp1.key.value) this.renew(); // the tab was reloaded
  }

  // Do what the button says.
  act() {
    if (this.holds) return this.state.waiting.length ? this.handOver() : this.leave();
    if (this.waits) return this.leave();
    return this.claim(this.state.holder ? "request" : "take");
  }

  // A name of one's own, or none.
  named() {
    const name = this.name.value.trim();
    return name ? { name } : {};
  }

  rename() {
    localStorage.setItem(this.constructor.NAME, this.name.value.trim());
    this.drawName();
    if (this.own && this.name.value.trim()) this.renew(this.named());
  }

  // The button says who one is.
  drawName() {
    const own = this.own?.name || this.name.value.trim();
    const who = window.pp1.find("#pp1-who");
    window.pp1.write(who, own || "Name");
    who.title = own ? `You are ${own}; change your name` : "Give yourself a name, which others see";
  }

  async claim(action) {
    this.own = await window.pp1.request("POST", "/api/lease", { action, ...this.named() });
    window.pp1.key.value = this.own.key;
    this.onChange();
  }

  async leave() {
    await window.pp1.request("DELETE", "/api/lease");
    this.forget();
    this.onChange();
  }

  async handOver() {
    await window.pp1.request("POST", "/api/lease/handover", {});
    this.forget();
    this.onChange();
  }

  // An error response means that the lease is gone. A server that does not respond may come back in time.
  async renew(change = {}) {
    try {
      this.own = await window.pp1.request("POST", "/api/lease", { action: "renew", ...change });
    } catch (error) {
      if (error instanceof TypeError || change.name) return; // a name that is refused costs no control
      this.forget();
    }
    this.onChange();
  }

  forget() {
    this.own = null;
    window.pp1.key.value = "";
  }

  get holds() {
    return Boolean(this.own) && this.state.holder?.id === this.own.id;
  }

  get waits() {
    return Boolean(this.own) && this.state.waiting.some(({ id }) => id === this.own.id);
  }

  // [who holds control, the label of the button, its tooltip]
  words() {
    const { holder, waiting } = this.state;
    if (this.holds && waiting.length) return [`${waiting[0].name} asks for control`, "Hand over", `Give control to ${waiting[0].name}`];
    if (this.holds) return [`You have control, ${this.own.name}`, "Release", "Let everybody change the stream again"];
    if (this.waits) return [`Asked ${holder.name} for control`, "Cancel", "Stop waiting for control"];
    if (holder) return [`${holder.name} has control`, "Ask for control", "You get control when it is handed over or free"];
    return ["", "Take control", "Only you can change the stream then; now everybody can"];
  }

  // state: `lease` of /api/state.
  draw(state) {
    if (!state) return;
    this.state = state;
    const [status, label, tooltip] = this.words();
    const { write } = window.pp1;
    write(this.status, status);
    write(this.button, label);
    this.drawName();
    this.button.title = tooltip;
    const locked = Boolean(state.holder) && !this.holds;
    this.button.parentElement.dataset.state = this.holds ? (state.waiting.length ? "asked" : "mine") : locked ? "locked" : "free";
    document.body.classList.toggle("pp1-locked", locked);
    for (const element of document.querySelectorAll(this.constructor.LOCKED)) element.setAttribute("aria-disabled", String(locked));
  }
};
