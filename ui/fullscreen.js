// The picture on the whole screen, and back.
"use strict";

window.pp1 = window.pp1 || {};

// screen: the element around the picture. Also on a double click.
window.pp1.Fullscreen = class {
  constructor(screen, button) {
    this.screen = screen;
    button.addEventListener("click", () => this.toggle());
    screen.addEventListener("dblclick", () => this.toggle());
    document.addEventListener("fullscreenchange", () => button.setAttribute("aria-pressed", String(this.isOn)));
  }

  get isOn() {
    return document.fullscreenElement === this.screen;
  }

  // Refused where a frame around the page does not allow it.
  toggle() {
    const change = this.isOn ? document.exitFullscreen() : this.screen.requestFullscreen?.();
    change?.catch(() => {});
  }
};
