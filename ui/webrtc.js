// The stream over WebRTC: one WHEP session.
"use strict";

window.pp1 = window.pp1 || {};

window.pp1.WebRtc = class {
  static GATHER_MS = 1000; // longest wait for ICE candidates; the server also learns our address from connectivity checks
  static ANSWER_MS = 10000; // longest wait for the server's answer
  static SERVERS_MS = 2000; // longest wait for the list of STUN and TURN servers
  static LINK = /<([^>]*)>((?:\s*;\s*[\w-]+\s*=\s*"(?:[^"\\]|\\.)*")*)/g;
  static PARAMETER = /([\w-]+)\s*=\s*"((?:[^"\\]|\\.)*)"/g;

  // onConnected(): media can flow; `stream` has it. onLost(text, facts): it is over. facts.full: no place is free;
  // facts.answered: the server took the offer, but nothing came.
  constructor(onConnected, onLost) {
    this.onConnected = onConnected;
    this.onLost = onLost;
    this.stream = null;
    this.connected = false;
    this.closed = false;
  }

  async open() {
    try {
      await this.connect();
    } catch (error) {
      this.lost(error.message, { full: error.full });
    }
  }

  async connect() {
    if (!window.RTCPeerConnection) return this.lost("This browser has no WebRTC", { answered: true });
    const iceServers = await this.findServers();
    if (this.closed) return;
    const peer = (this.peer = new RTCPeerConnection({ iceServers }));
    const { receiver } = peer.addTransceiver("video", { direction: "recvonly" });
    if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
    peer.ontrack = (event) => (this.stream = event.streams[0] || new MediaStream([event.track]));
    peer.onconnectionstatechange = () => this.stateChanged(peer.connectionState);
    await peer.setLocalDescription();
    await this.waitForCandidates(peer);
    this.addresses = peer.localDescription.sdp.includes("a=candidate:");
    if (this.closed) return;
    const response = await fetch(window.pp1.url("/whep"), {
      signal: AbortSignal.timeout(this.constructor.ANSWER_MS),
      method: "POST",
      headers: { "Content-Type": "application/sdp" },
      body: peer.localDescription.sdp,
    });
    if (response.status !== 201) {
      throw Object.assign(new Error(await window.pp1.reason(response)), { full: response.status === 503 });
    }
    const location = new URL(response.headers.get("Location"), response.url).href;
    if (this.closed) return this.leave(location);
    this.location = location;
    const sdp = await response.text();
    if (!this.closed) await peer.setRemoteDescription({ type: "answer", sdp });
  }

  // The server's STUN and TURN servers. Without an answer there are none: the offer tells what is wrong.
  async findServers() {
    try {
      const { SERVERS_MS } = this.constructor;
      const response = await fetch(window.pp1.url("/whep"), { method: "OPTIONS", signal: AbortSignal.timeout(SERVERS_MS) });
      return response.ok ? this.constructor.readLinks(response.headers.get("Link") ?? "") : [];
    } catch {
      return [];
    }
  }

  static readLinks(header) {
    const links = [...header.matchAll(this.LINK)].map(([, urls, rest]) => {
      const unescaped = ([, name, value]) => [name, value.replace(/\\(.)/g, "$1")];
      return { urls, ...Object.fromEntries([...rest.matchAll(this.PARAMETER)].map(unescaped)) };
    });
    return links
      .filter(({ rel }) => rel === "ice-server")
      .map(({ urls, username, credential }) => (username === undefined ? { urls } : { urls, username, credential }));
  }

  stateChanged(state) {
    if (this.closed) return;
    if (state === "connected" && !this.connected) {
      this.connected = true;
      this.onConnected();
    }
    if (["failed", "closed"].includes(state)) this.lost("The connection broke", { answered: !this.connected });
  }

  waitForCandidates(peer) {
    if (peer.iceGatheringState === "complete") return Promise.resolve();
    return new Promise((done) => {
      peer.addEventListener("icegatheringstatechange", () => peer.iceGatheringState === "complete" && done());
      setTimeout(done, this.constructor.GATHER_MS);
    });
  }

  // Why no frames come.
  get silenceReason() {
    if (this.addresses) return "No frames arrive";
    return "This browser has no network address to receive video at. It plays once there is any network.";
  }

  lost(text, facts = {}) {
    if (this.closed) return;
    this.close();
    this.onLost(text, facts);
  }

  // End the session on the server, which also notices a viewer that is gone.
  leave(location) {
    fetch(location, { method: "DELETE", keepalive: true }).catch(() => {});
  }

  close() {
    this.closed = true;
    this.peer?.close();
    if (this.location) this.leave(this.location);
    this.location = null;
  }
};
