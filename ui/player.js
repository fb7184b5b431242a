// Plays the stream in a <video> over WHEP, and keeps it playing: a lost connection is made anew by itself.
"use strict";

window.pp1 = window.pp1 || {};

window.pp1.Player = class {
  static GATHER_MS = 1000; // longest wait for network addresses; the server finds us by our checks anyway
  static SILENT_MS = 4000; // the server repeats a held picture twice a second, so silence means the line is dead
  static CONNECT_MS = 10000; // longest wait for the first picture
  static FULL_MS = 2000; // between tries for a place, where all are taken
  static RETRY_MS = [300, 600, 1200, 2500, 4000];

  // onChange(state, text): state is connecting, live, full (no place is free) or lost; text says why where there is something to say.
  constructor(onChange) {
    this.onChange = onChange;
    this.video = null;
    this.stream = null;
    this.failures = 0;
    this.why = "";
    this.full = false;
    this.closed = false;
    window.addEventListener("pagehide", () => this.close());
    window.addEventListener("pageshow", (event) => event.persisted && this.reopen());
    window.addEventListener("online", () => this.lost("The network is back"));
  }

  // The connection may be opened before the page has a <video> for it.
  attach(video) {
    this.video = video;
    video.addEventListener("resize", () => this.soften());
    new ResizeObserver(() => this.soften()).observe(video);
    this.play();
  }

  async open() {
    if (!this.full) this.onChange("connecting", this.failures > 1 ? this.why : ""); // once is no reason to say anything
    const attempt = (this.attempt = Symbol("attempt"));
    try {
      await this.connect(attempt);
    } catch (error) {
      if (attempt === this.attempt) this.lost(error.message, error.full);
    }
  }

  async connect(attempt) {
    const peer = (this.peer = new RTCPeerConnection({ iceServers: [] }));
    const { receiver } = peer.addTransceiver("video", { direction: "recvonly" });
    if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
    peer.ontrack = (event) => {
      this.stream = event.streams[0] || new MediaStream([event.track]);
      this.play();
    };
    peer.onconnectionstatechange = () => {
      if (peer === this.peer && ["failed", "closed"].includes(peer.connectionState)) this.lost("The connection broke");
    };
    await peer.setLocalDescription();
    await this.gathered(peer);
    this.addresses = peer.localDescription.sdp.includes("a=candidate:");
    if (attempt !== this.attempt) return;
    const answer = await fetch("/whep", {
      signal: AbortSignal.timeout(this.constructor.CONNECT_MS), // a server that never answers is tried again
      method: "POST",
      headers: { "Content-Type": "application/sdp" },
      body: peer.localDescription.sdp,
    });
    if (answer.status !== 201) {
      throw Object.assign(new Error(await window.pp1.reason(answer)), { full: answer.status === 503 });
    }
    const location = answer.headers.get("Location");
    if (attempt !== this.attempt) return this.leave(location);
    this.full = false;
    this.location = location;
    const sdp = await answer.text();
    if (attempt !== this.attempt) return;
    await peer.setRemoteDescription({ type: "answer", sdp });
  }

  // Gives a viewer's place back.
  leave(location) {
    fetch(location, { method: "DELETE", keepalive: true }).catch(() => {}); // else the server notices by itself
  }

  gathered(peer) {
    if (peer.iceGatheringState === "complete") return Promise.resolve();
    return new Promise((done) => {
      peer.addEventListener("icegatheringstatechange", () => peer.iceGatheringState === "complete" && done());
      setTimeout(done, this.constructor.GATHER_MS);
    });
  }

  play() {
    const { video, peer } = this;
    if (!video || !peer || !this.stream || video.srcObject === this.stream) return;
    video.srcObject = this.stream;
    video.play().catch(() => {}); // a browser that forbids autoplay starts it at the first click
    this.heard(this.constructor.CONNECT_MS - this.constructor.SILENT_MS);
    const frame = () => {
      if (peer !== this.peer) return;
      this.failures = 0;
      this.heard();
      this.onChange("live", "");
      video.requestVideoFrameCallback(frame);
    };
    video.requestVideoFrameCallback(frame);
  }

  // A small picture that is shown large gets a blur of a third of its own pixel: steps become edges.
  soften() {
    const scale = this.video.videoWidth ? this.video.clientWidth / this.video.videoWidth : 1;
    this.video.style.setProperty("--soft", `${scale > 2 ? (scale * 0.33).toFixed(2) : 0}px`);
  }

  heard(grace = 0) {
    this.heardAt = performance.now() + grace;
    if (this.watch) return;
    this.watch = setInterval(() => {
      const hidden = document.visibilityState === "hidden"; // no frame is drawn then
      if (!hidden && performance.now() - this.heardAt > this.constructor.SILENT_MS) this.lost(this.silence());
      if (hidden) this.heardAt = performance.now();
    }, 500);
  }

  silence() {
    if (this.addresses) return "No picture arrives";
    return "This browser has no network address to receive video at. It plays once there is any network.";
  }

  lost(text, full = false) {
    if (this.closed) return;
    this.drop();
    const waits = this.constructor.RETRY_MS;
    const wait = full ? this.constructor.FULL_MS : waits[Math.min(this.failures, waits.length - 1)];
    this.failures += 1;
    this.why = text;
    this.full = full;
    this.onChange(full ? "full" : "lost", text);
    clearTimeout(this.retry);
    this.retry = setTimeout(() => this.open(), wait);
  }

  drop() {
    clearInterval(this.watch);
    this.watch = null;
    this.attempt = null;
    const peer = this.peer;
    this.peer = null;
    this.stream = null;
    if (peer) peer.close();
    if (this.location) this.leave(this.location);
    this.location = null;
  }

  close() {
    this.closed = true;
    clearTimeout(this.retry);
    this.drop();
  }

  reopen() {
    this.closed = false;
    this.open();
  }
};
