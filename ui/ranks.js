// Draws the processes of the run with their state and memory.
"use strict";

window.pp1 = window.pp1 || {};

window.pp1.drawRanks = (() => {
  const WHOLE = ["resident", "peak"]; // totals, not components
  const { find, make, words } = window.pp1;

  const parts = (memory) => Object.entries(memory).filter(([name, bytes]) => !WHOLE.includes(name) && bytes > 0);
  const sum = (memory) => parts(memory).reduce((total, [, bytes]) => total + bytes, 0);
  const plain = (name) => name.replaceAll("_", " ");

  // A stacked bar. Its length is relative to the rank with the most memory.
  const bar = (memory, top) => {
    const pieces = parts(memory).map(([name, bytes]) => {
      const piece = make("i", { "data-part": name });
      piece.style.width = `${(100 * bytes) / top}%`;
      return piece;
    });
    const text = parts(memory).map(([name, bytes]) => `${plain(name)} ${words.bytes(bytes)}`).join(", ");
    return make("span", { className: "bar", role: "img", title: text, "aria-label": text || "unknown" }, ...pieces);
  };

  const row = ([rank, { pid, device, state, memory = {} }], top) => {
    const held = memory.resident ? `process ${words.bytes(memory.resident)}` : "";
    return make(
      "li",
      { title: `rank ${rank}: ${state}, process ${pid} on ${device}`, "data-state": state },
      make("b", {}, make("i"), `rank ${rank}`),
      make("em", {}, state === "up" ? device : state),
      bar(memory, top),
      make("span", { className: "held" }, words.bytes(sum(memory)), " ", make("small", {}, held)),
    );
  };

  return (ranks) => {
    const box = find("#pp1-ranks");
    const rounded = (_, value) => (typeof value === "number" && value > 1e6 ? Math.round(value / 1e6) : value);
    const drawn = JSON.stringify(ranks, rounded); // as precisely as it is shown
    if (box.dataset.drawn === drawn) return;
    box.dataset.drawn = drawn;
    const top = Math.max(1, ...Object.values(ranks).map(({ memory = {} }) => sum(memory)));
    box.replaceChildren(...Object.entries(ranks).map((entry) => row(entry, top)));
  };
})();
