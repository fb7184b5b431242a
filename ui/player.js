// Plays the stream over WebRTC. Where no UDP passes it plays the same packets over a WebSocket until WebRTC works.
// Reconnects when the connection is lost.
"use strict";

window.pp1 = window.pp1 || {};

window.pp1.Player = class {
  static SILENT_MS = 4000; // the server repeats a paused frame twice a second, so silence means a dead connection
  static CONNECT_MS = 10000; // longest wait for the first frame
  static FALLBACK_MS = 2500; // longest wait for WebRTC before the WebSocket is opened as well
  static RETURN_MS = [3000, 15000, 60000]; // between attempts with WebRTC while the WebSocket plays
  static TRIAL_MS = 10000; // how long each of them lasts: a busy machine takes long, too
  static FULL_MS = 2000; // between attempts while all viewer places are taken
  static RETRY_MS = [300, 600, 1200, 2000];

  // onChange(state, text, transport): state is connecting, live, full (no place is free) or lost; text is the reason, or
  // empty; transport is webrtc or websocket.
  constructor(onChange) {
    this.onChange = onChange;
    this.video = null;
    this.failures = 0;
    this.trials = 0;
    this.reason = "";
    this.full = false;
    this.closed = false;
    this.udpBlocked = false;
    this.timers = {};
    window.addEventListener("pagehide", () => this.close());
    window.addEventListener("pageshow", (event) => event.persisted && this.reopen());
    window.addEventListener("online", () => this.lost("The network is back"));
  }

  // The connection may be opened before the page has its <video>.
  attach(video) {
    this.video = video;
    this.canvas = window.pp1.make("canvas", { hidden: true, "aria-label": "The stream", role: "img" });
    video.after(this.canvas);
    video.addEventListener("resize", () => this.setBlur());
    new ResizeObserver(() => this.setBlur()).observe(video);
    if (this.webrtc?.connected) this.play();
    if (this.socketWanted) this.openSocket();
  }

  // What shows the newest frame, and its size.
  get picture() {
    const { video, canvas } = this;
    if (canvas && !canvas.hidden) return { element: canvas, width: canvas.width, height: canvas.height };
    return { element: video, width: video?.videoWidth ?? 0, height: video?.videoHeight ?? 0 };
  }

  open() {
    if (!this.full) this.onChange("connecting", this.failures > 1 ? this.reason : ""); // a single failure is not reported
    this.expectFrame(this.constructor.CONNECT_MS);
    this.watch = setInterval(() => this.checkSilence(), 500);
    this.openWebRtc();
    this.later("fallback", this.udpBlocked ? 0 : this.constructor.FALLBACK_MS, () => {
      if (!this.webrtc?.connected) this.openSocket();
    });
  }

  // ---- WebRTC ----

  openWebRtc() {
    const webrtc = new window.pp1.WebRtc(
      () => this.video && this.play(),
      (text, facts) => webrtc === this.webrtc && this.webRtcLost(text, facts),
    );
    this.webrtc = webrtc;
    webrtc.open();
  }

  play() {
    const { video, webrtc } = this;
    if (this.socket && this.canvas.hidden) this.closeSocket(); // it uses the same element
    video.srcObject = webrtc.stream;
    video.play().catch(() => {}); // where autoplay is blocked, the first click starts it
    const frame = () => {
      if (webrtc !== this.webrtc) return;
      clearTimeout(this.timers.blind);
      this.closeSocket();
      this.udpBlocked = false;
      this.trials = 0;
      this.live("webrtc");
      video.requestVideoFrameCallback(frame);
    };
    video.requestVideoFrameCallback(frame);
    this.expectFrame(this.constructor.CONNECT_MS);
    this.later("blind", this.constructor.SILENT_MS, () => webrtc === this.webrtc && this.connectedInVain());
  }

  // Connected, and no frame comes: small packets pass on this way, and those of the video do not.
  connectedInVain() {
    if (document.visibilityState === "hidden") return; // no frame is drawn then
    this.webrtc.close();
    this.webRtcLost("", { answered: true });
  }

  webRtcLost(text, { full = false, answered = false }) {
    this.webrtc = null;
    if (this.socket) this.tryAgainLater();
    else if (answered) this.openSocket();
    else this.lost(text, full);
  }

  // While the WebSocket plays.
  tryAgainLater() {
    const pauses = this.constructor.RETURN_MS;
    const pause = pauses[Math.min(this.trials, pauses.length - 1)];
    this.trials += 1;
    this.later("trial", pause, () => {
      if (this.socket) this.openWebRtc();
      this.later("trialEnd", this.constructor.TRIAL_MS, () => this.endTrial());
    });
  }

  endTrial() {
    if (!this.socket || !this.webrtc || this.webrtc.connected) return;
    this.webrtc.close();
    this.webRtcLost("", {});
  }

  // ---- WebSocket ----

  openSocket() {
    this.socketWanted = !this.video;
    if (this.socket || !this.video || this.closed) return;
    const socket = new window.pp1.Socket(
      this.video,
      this.canvas,
      () => socket === this.socket && this.live("websocket"),
      (text, full) => socket === this.socket && this.socketLost(text, full),
    );
    this.socket = socket;
    this.udpBlocked = true;
    this.expectFrame(this.constructor.CONNECT_MS);
    socket.open();
    if (this.webrtc) this.later("trialEnd", this.constructor.TRIAL_MS, () => this.endTrial());
    else this.tryAgainLater();
  }

  socketLost(text, full) {
    if (!full || !this.webrtc) return this.lost(text, full);
    this.webrtc.close(); // it may have the place
    this.webrtc = this.socket = null;
    this.later("again", this.constructor.RETRY_MS[0], () => this.openSocket());
  }

  closeSocket() {
    clearTimeout(this.timers.trial);
    clearTimeout(this.timers.trialEnd);
    const { socket } = this;
    this.socket = null;
    this.socketWanted = false;
    socket?.close();
    if (this.canvas) this.canvas.hidden = true;
  }

  // ---- both ----

  live(transport) {
    this.failures = 0;
    this.full = false;
    this.expectFrame(this.constructor.SILENT_MS);
    this.setBlur();
    this.onChange("live", "", transport);
  }

  // A small frame that is shown large gets a blur of a third of its pixel size.
  setBlur() {
    const { width } = this.picture;
    const scale = width ? this.video.clientWidth / width : 1;
    const soft = `${scale > 2 ? (scale * 0.33).toFixed(2) : 0}px`;
    if (soft === this.soft) return;
    this.soft = soft;
    this.video.parentElement.style.setProperty("--soft", soft);
  }

  expectFrame(withinMs) {
    this.frameDue = performance.now() + withinMs;
  }

  checkSilence() {
    if (document.visibilityState === "hidden") this.expectFrame(this.constructor.SILENT_MS); // no frame is drawn then
    else if (performance.now() > this.frameDue) this.lost(this.webrtc?.silenceReason ?? "No frames arrive");
  }

  later(name, ms, action) {
    clearTimeout(this.timers[name]);
    this.timers[name] = setTimeout(action, ms);
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
    this.later("retry", delay, () => this.open());
  }

  // The server has dropped all viewers over WebRTC, and takes them again.
  renew() {
    if (this.socket && !this.webrtc?.connected) return;
    this.failures = 0;
    this.lost("The video restarts");
  }

  // The last frame stays.
  drop() {
    clearInterval(this.watch);
    Object.values(this.timers).forEach(clearTimeout);
    const { webrtc, socket } = this;
    this.webrtc = this.socket = null;
    this.socketWanted = false;
    webrtc?.close();
    socket?.close();
  }

  close() {
    this.closed = true;
    this.drop();
  }

  reopen() {
    this.closed = false;
    this.open();
  }
};
