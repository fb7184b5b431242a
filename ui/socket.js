// The stream over a WebSocket, for where no UDP passes: the same encoded packets, decoded here.
"use strict";

window.pp1 = window.pp1 || {};

window.pp1.Socket = class {
  static HEADER_BYTES = 16; // flags, three bytes of nothing, number, time in microseconds
  static KEYFRAME = 1;
  static FULL = 1013; // the code of an end because no place is free
  static REPORT_EVERY = 4; // packets
  static REPORT_MS = 1000;

  // onFrame(): a frame is shown. onLost(text, full): it is over; full: no place is
  // free. video: shows the frames, or the canvas after it does.
  constructor(video, canvas, onFrame, onLost) {
    this.video = video;
    this.canvas = canvas;
    this.onFrame = onFrame;
    this.onLost = onLost;
    this.closed = false;
    this.reported = -1;
    this.reportedAt = performance.now();
  }

  open() {
    const address = new URL(window.pp1.url("/ws/stream"));
    address.protocol = address.protocol.replace("http", "ws");
    const socket = (this.socket = new WebSocket(address));
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => this.attempt(() => (typeof data === "string" ? this.configure(JSON.parse(data)) : this.take(data)));
    socket.onclose = ({ code, reason }) => this.lost(reason || "The connection broke", code === this.constructor.FULL);
  }

  configure(config) {
    const shown = (number) => this.shown(number);
    const failed = (error) => this.lost(error.message);
    if (window.VideoDecoder) this.decoder = new window.pp1.CanvasDecoder(this.canvas, config, shown, failed);
    else this.decoder = new window.pp1.MediaSourceDecoder(this.video, config, shown, failed);
  }

  take(data) {
    const head = new DataView(data);
    const packet = {
      isKeyframe: Boolean(head.getUint8(0) & this.constructor.KEYFRAME),
      number: head.getUint32(4),
      timeUs: Number(head.getBigUint64(8)),
      data: new Uint8Array(data, this.constructor.HEADER_BYTES),
    };
    this.decoder.decode(packet);
  }

  // Tell the server what has been shown: it sends only so much more, and drops what would be late.
  shown(number) {
    if (this.closed) return;
    const now = performance.now();
    const many = number - this.reported >= this.constructor.REPORT_EVERY;
    if (many || this.reported < 0 || now - this.reportedAt >= this.constructor.REPORT_MS) {
      this.reported = number;
      this.reportedAt = now;
      const report = new DataView(new ArrayBuffer(4));
      report.setUint32(0, number);
      this.socket.send(report);
    }
    this.onFrame();
  }

  attempt(action) {
    try {
      if (!this.closed) action();
    } catch (error) {
      this.lost(error.message);
    }
  }

  lost(text, full = false) {
    if (this.closed) return;
    this.close();
    this.onLost(text, full);
  }

  close() {
    this.closed = true;
    this.socket?.close();
    this.decoder?.close();
  }
};

// Decodes with WebCodecs onto a canvas. Browsers have it in secure pages only: https, or this machine itself.
window.pp1.CanvasDecoder = class {
  constructor(canvas, config, onShown, onFailed) {
    this.numbers = new Map(); // of packets that are being decoded, by their time
    const pen = canvas.getContext("2d", { alpha: false });
    this.decoder = new VideoDecoder({
      output: (frame) => {
        if (canvas.width !== frame.displayWidth) canvas.width = frame.displayWidth;
        if (canvas.height !== frame.displayHeight) canvas.height = frame.displayHeight;
        pen.drawImage(frame, 0, 0);
        const number = this.numbers.get(frame.timestamp);
        this.numbers.delete(frame.timestamp);
        frame.close();
        canvas.hidden = false;
        onShown(number);
      },
      error: onFailed,
    });
    const { codec, width, height } = config;
    this.decoder.configure({ codec, codedWidth: width, codedHeight: height, optimizeForLatency: true });
    this.canvas = canvas;
  }

  decode({ isKeyframe, number, timeUs, data }) {
    this.numbers.set(timeUs, number);
    this.decoder.decode(new EncodedVideoChunk({ type: isKeyframe ? "key" : "delta", timestamp: timeUs, data }));
  }

  close() {
    if (this.decoder.state !== "closed") this.decoder.close();
  }
};
