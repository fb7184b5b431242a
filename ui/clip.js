// Recording what is seen, on the server: one button, how far it is, and the file when there is one.
"use strict";

window.pp1 = window.pp1 || {};

window.pp1.Clip = class {
  static ENDED = { length: "the longest there may be", size: "the largest there may be", stopped: "the program stopped" };

  constructor() {
    this.button = window.pp1.find("#pp1-record");
    this.link = window.pp1.find("#pp1-clip");
    this.running = false;
  }

  // Start, or stop what is being recorded.
  toggle() {
    return window.pp1.ask("POST", "/api/clips", { action: this.running ? "stop" : "start" });
  }

  // clip: the newest one, or null.
  draw(clip) {
    const { write, words } = window.pp1;
    this.running = clip?.state === "recording";
    const extent = clip ? `${words.minutes(clip.seconds)} · ${words.bytes(clip.bytes)}` : "";
    this.button.setAttribute("aria-pressed", String(this.running));
    write(this.button, this.running ? "Stop" : "Record");
    this.link.hidden = !clip;
    this.link.dataset.state = clip?.state ?? "";
    if (!clip) return;
    const isReady = clip.state === "ready";
    const why = this.constructor.ENDED[clip.ended];
    if (isReady) this.link.href = `/api/clips/${clip.id}`;
    else this.link.removeAttribute("href");
    this.link.title = isReady ? `Download this clip as MP4${why ? `; it ended by itself: ${why}` : ""}` : clip.ended || "";
    write(this.link, { recording: extent, ready: `Download · ${extent}`, failed: "The clip failed" }[clip.state]);
  }
};
