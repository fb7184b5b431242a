// Runs in the page before its own scripts: notes when each station of one prompt change was reached, in Unix ms.
"use strict";

window.probe = (() => {
  const CHANGED = 48; // of 255: half of the picture's cells differ by so much in some channel
  const CELLS = 8;
  const unix = (ms) => performance.timeOrigin + ms;
  const now = () => unix(performance.now());
  const canvas = new OffscreenCanvas(CELLS, CELLS).getContext("2d", { willReadFrequently: true });
  let marks = null;
  let before = null;
  let cells = null;
  let own = null; // the update's id

  const look = (video) => {
    canvas.drawImage(video, 0, 0, CELLS, CELLS);
    return canvas.getImageData(0, 0, CELLS, CELLS).data;
  };

  const distance = (a, b) => {
    const all = [];
    for (let i = 0; i < a.length; i += 4) all.push(Math.max(...[0, 1, 2].map((c) => Math.abs(a[i + c] - b[i + c]))));
    return all.sort((x, y) => x - y)[all.length >> 1];
  };

  const watch = (video) => {
    const frame = (_, { receiveTime }) => {
      cells = look(video);
      if (marks && !marks.shown && distance(cells, before) > CHANGED) {
        marks.received = unix(receiveTime);
        marks.shown = now();
      }
      video.requestVideoFrameCallback(frame);
    };
    video.requestVideoFrameCallback(frame);
  };

  const listen = () => {
    const heard = new Map(); // the events may come before the answer that tells the id
    const source = new EventSource("/api/events");
    for (const name of ["accepted", "applied", "visible"]) {
      source.addEventListener(name, ({ data }) => {
        const event = JSON.parse(data);
        heard.set(event.update, { [name]: 1000 * event.at, ...heard.get(event.update) });
      });
    }
    return heard;
  };

  window.addEventListener(
    "keydown",
    ({ key }) => {
      if (key !== "Enter") return;
      marks = { key: now() };
      before = cells;
      own = null;
    },
    { capture: true },
  );

  const { fetch } = window;
  window.fetch = async (address, options) => {
    if (!String(address).endsWith("/api/prompt")) return fetch(address, options);
    marks.sent = now();
    const answer = await fetch(address, options);
    own = (await answer.clone().json()).id;
    return answer;
  };

  let events = null;
  return {
    start() {
      watch(document.querySelector("video"));
      events = listen();
      return new Promise((done) => setTimeout(done, 500)); // until the events have begun
    },
    // All marks of the newest change, or null while some are missing.
    take() {
      const told = events.get(own);
      return marks?.shown && told?.visible ? { ...marks, ...told } : null;
    },
  };
})();
