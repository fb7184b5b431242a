// Recording on the server: the button, the progress, and the link to the file.
"use strict";

window.pp1 = window.pp1 || {};

window.pp1.Clip = class {
  static ENDED = { length: "maximum length reached", size: "maximum size reached", stopped: "the program stopped" };

  constructor() {
    this.button = window.pp1.find("#pp1-record");
    this.link = window.pp1.find("#pp1-clip");
    this.running = false;
  }

  // Start or stop recording.
  toggle() {
    return window.pp1.request("POST", "/api/clips", { action: this.running ? "stop" : "start" });
  }

  // clip: the newest clip, or null.
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
    if (isReady) this.link.href = window.pp1.url(`/api/clips/${clip.id}`);
    else this.link.removeAttribute("href");
    this.link.title = isReady ? `Download this clip as MP4${why ? `; it ended early: ${why}` : ""}` : clip.ended || "";
    write(this.link, { recording: extent, ready: `Download · ${extent}`, failed: "The clip failed" }[clip.state]);
  }
};
