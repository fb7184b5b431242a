// Plays VP8 packets with Media Source Extensions, where WebCodecs is missing: each packet becomes a cluster of WebM.
"use strict";

window.pp1 = window.pp1 || {};

window.pp1.webm = (() => {
  const bytes = (value, length) => Array.from({ length }, (_, i) => Math.floor(value / 256 ** (length - 1 - i)) % 256);
  const number = (value) => bytes(value, 4);
  const text = (value) => Array.from(new TextEncoder().encode(value));
  // An element of EBML. content: bytes, or elements.
  const element = (id, ...content) => {
    const body = content.flat();
    return [...id, 0x10 | Math.floor(body.length / 2 ** 24), ...bytes(body.length, 3), ...body];
  };
  const UNKNOWN_SIZE = [0x01, 255, 255, 255, 255, 255, 255, 255];

  // The start of a file without an end. Its times are milliseconds.
  const start = ({ width, height, fps }) => {
    const head = element(
      [0x1a, 0x45, 0xdf, 0xa3],
      element([0x42, 0x86], [1]), // EBMLVersion
      element([0x42, 0xf7], [1]), // EBMLReadVersion
      element([0x42, 0xf2], [4]), // EBMLMaxIDLength
      element([0x42, 0xf3], [8]), // EBMLMaxSizeLength
      element([0x42, 0x82], text("webm")), // DocType
      element([0x42, 0x87], [2]), // DocTypeVersion
      element([0x42, 0x85], [2]), // DocTypeReadVersion
    );
    const info = element(
      [0x15, 0x49, 0xa9, 0x66],
      element([0x2a, 0xd7, 0xb1], number(1e6)), // TimestampScale, nanoseconds
      element([0x4d, 0x80], text("pp1")), // MuxingApp
      element([0x57, 0x41], text("pp1")), // WritingApp
    );
    const video = element([0xe0], element([0xb0], number(width)), element([0xba], number(height)));
    const track = element(
      [0xae],
      element([0xd7], [1]), // TrackNumber
      element([0x73, 0xc5], [1]), // TrackUID
      element([0x83], [1]), // TrackType: video
      element([0x86], text("V_VP8")), // CodecID
      element([0x23, 0xe3, 0x83], number(Math.round(1e9 / fps))), // DefaultDuration, nanoseconds
      video,
    );
    return new Uint8Array([...head, 0x18, 0x53, 0x80, 0x67, ...UNKNOWN_SIZE, ...info, ...element([0x16, 0x54, 0xae, 0x6b], track)]);
  };

  // One frame at a time in milliseconds.
  const cluster = (timeMs, isKeyframe, data) => {
    const time = element([0xe7], bytes(timeMs, 6)); // Timestamp
    const blockSize = 4 + data.length;
    const block = [0xa3, 0x10 | Math.floor(blockSize / 2 ** 24), ...bytes(blockSize, 3), 0x81, 0, 0, isKeyframe ? 0x80 : 0];
    const size = time.length + block.length + data.length;
    const head = [0x1f, 0x43, 0xb6, 0x75, 0x10 | Math.floor(size / 2 ** 24), ...bytes(size, 3), ...time, ...block];
    const made = new Uint8Array(head.length + data.length);
    made.set(head);
    made.set(data, head.length);
    return made;
  };

  return { start, cluster };
})();

window.pp1.MediaSourceDecoder = class {
  static LATE_S = 0.4; // what is further behind the newest frame jumps to it
  static KEPT_S = 10; // of what has been played

  constructor(video, config, onShown, onFailed) {
    const type = 'video/webm; codecs="vp8"';
    if (config.codec !== "vp8" || !window.MediaSource?.isTypeSupported(type)) {
      throw new Error("Without WebRTC this browser plays the stream on a page with https only");
    }
    this.video = video;
    this.onShown = onShown;
    this.onFailed = onFailed;
    this.frameMs = 1000 / config.fps;
    this.frames = 0;
    this.waiting = [window.pp1.webm.start(config)];
    this.numbers = [];
    this.closed = false;
    this.source = new MediaSource();
    this.address = URL.createObjectURL(this.source);
    this.source.addEventListener("sourceopen", () => {
      URL.revokeObjectURL(this.address);
      if (this.closed) return;
      this.buffer = this.source.addSourceBuffer(type);
      this.buffer.addEventListener("updateend", () => this.updated());
      this.append();
    });
    video.srcObject = null;
    video.src = this.address;
    video.addEventListener("error", (this.fail = () => this.onFailed(new Error(video.error?.message || "The video can't be played"))));
    this.frame = () => {
      if (this.closed) return;
      this.onShown(this.newest);
      video.requestVideoFrameCallback(this.frame);
    };
    video.requestVideoFrameCallback(this.frame);
  }

  // Frames follow each other without gaps, which would stop the video: what is late is skipped when it plays.
  decode({ isKeyframe, number, data }) {
    this.waiting.push(window.pp1.webm.cluster(Math.round(this.frames * this.frameMs), isKeyframe, data));
    this.frames += 1;
    this.newest = number;
    this.append();
  }

  append() {
    if (this.closed || !this.buffer || this.buffer.updating || !this.waiting.length) return;
    const size = this.waiting.reduce((sum, part) => sum + part.length, 0);
    const all = new Uint8Array(size);
    let at = 0;
    for (const part of this.waiting.splice(0)) {
      all.set(part, at);
      at += part.length;
    }
    try {
      this.buffer.appendBuffer(all);
    } catch (error) {
      this.onFailed(error);
    }
  }

  updated() {
    const { video, buffer } = this;
    if (this.closed || !buffer.buffered.length) return this.append();
    const end = buffer.buffered.end(buffer.buffered.length - 1);
    if (end - video.currentTime > this.constructor.LATE_S) video.currentTime = end - this.frameMs / 1000;
    if (video.paused) video.play().catch(() => {});
    const first = buffer.buffered.start(0);
    if (!this.waiting.length && video.currentTime - first > 2 * this.constructor.KEPT_S) {
      buffer.remove(0, video.currentTime - this.constructor.KEPT_S);
    } else this.append();
  }

  close() {
    this.closed = true;
    this.video.removeEventListener("error", this.fail);
    this.video.removeAttribute("src");
    this.video.load();
  }
};
