// Plays the stream in a <video> over WHEP, and reconnects when the connection is lost.
"use strict";

window.pp1 = window.pp1 || {};

window.pp1.Player = class {
  static GATHER_MS = 1000; // longest wait for ICE candidates; the server also learns our address from connectivity checks
  static SILENT_MS = 4000; // the server repeats a paused frame twice a second, so silence means a dead connection
  static CONNECT_MS = 10000; // longest wait for the first frame
  static FULL_MS = 2000; // between attempts while all viewer places are taken
  static RETRY_MS = [300, 600, 1200, 2500, 4000];

  // onChange(state, text): state is connecting, live, full (no place is free) or lost; text is the reason, or empty.
  constructor(onChange) {
    this.onChange = onChange;
    this.video = null;
    this.stream = null;
    this.failures = 0;
    this.reason = "";
    this.full = false;
    this.closed = false;
    window.addEventListener("pagehide", () => this.close());
    window.addEventListener("pageshow", (event) => event.persisted && this.reopen());
    window.addEventListener("online", () => this.lost("The network is back"));
  }

  // The connection may be opened before the page has its <video>.
  attach(video) {
    this.video = video;
    video.addEventListener("resize", () => this.setBlur());
    new ResizeObserver(() => this.setBlur()).observe(video);
    this.play();
  }

  async open() {
    if (!this.full) this.onChange("connecting", this.failures > 1 ? this.reason : ""); // a single failure is not reported
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
    await this.waitForCandidates(peer);
    this.addresses = peer.localDescription.sdp.includes("a=candidate:");
    if (attempt !== this.attempt) return;
    const response = await fetch(window.pp1.url("/whep"), {
      signal: AbortSignal.timeout(this.constructor.CONNECT_MS), // retry if the server does not respond
      method: "POST",
      headers: { "Content-Type": "application/sdp" },
      body: peer.localDescription.sdp,
    });
    if (response.status !== 201) {
      throw Object.assign(new Error(await window.pp1.reason(response)), { full: response.status === 503 });
    }
    const location = new URL(response.headers.get("Location"), response.url).href;
    if (attempt !== this.attempt) return this.leave(location);
    this.full = false;
    this.location = location;
    const sdp = await response.text();
    if (attempt !== this.attempt) return;
    await peer.setRemoteDescription({ type: "answer", sdp });
  }

  // End a session on the server.
  leave(location) {
    fetch(location, { method: "DELETE", keepalive: true }).catch(() => {}); // the server also notices a viewer that is gone
  }

  waitForCandidates(peer) {
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
    video.play().catch(() => {}); // where autoplay is blocked, the first click starts it
    this.frameArrived(this.constructor.CONNECT_MS - this.constructor.SILENT_MS);
    const frame = () => {
      if (peer !== this.peer) return;
      this.failures = 0;
      this.frameArrived();
      this.onChange("live", "");
      video.requestVideoFrameCallback(frame);
    };
    video.requestVideoFrameCallback(frame);
  }

  // A small frame that is shown large gets a blur of a third of its pixel size.
  setBlur() {
    const scale = this.video.videoWidth ? this.video.clientWidth / this.video.videoWidth : 1;
    this.video.style.setProperty("--soft", `${scale > 2 ? (scale * 0.33).toFixed(2) : 0}px`);
  }

  frameArrived(grace = 0) {
    this.lastFrameAt = performance.now() + grace;
    if (this.watch) return;
    this.watch = setInterval(() => {
      const hidden = document.visibilityState === "hidden"; // no frame is drawn then
      if (!hidden && performance.now() - this.lastFrameAt > this.constructor.SILENT_MS) this.lost(this.silenceReason());
      if (hidden) this.lastFrameAt = performance.now();
    }, 500);
  }

  silenceReason() {
    if (this.addresses) return "No frames arrive";
    return "This browser has no network address to receive video at. It plays once there is any network.";
  }

  lost(text, full = false) {
    if (this.closed) return;
    this.drop();
    const delays = this.constructor.RETRY_MS;
    const delay = full ? this.constructor.FULL_MS : delays[Math.min(this.failures, delays.length - 1)];
    this.failures += 1;
    this.reason = text;
    this.full = full;
    this.onChange(full ? "full" : "lost", text);
    clearTimeout(this.retry);
    this.retry = setTimeout(() => this.open(), delay);
  }

  // The server has dropped all viewers, and takes them again.
  renew() {
    this.failures = 0;
    this.lost("The video restarts");
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
