// The stream's figures, choices and commands' state, as /api/state has them.
"use strict";

window.pp1 = window.pp1 || {};

window.pp1.drawState = (() => {
  const { find, make, write } = window.pp1;
  const figure = (name, text) => write(`[data-figure="${name}"]`, text ?? "–");

  const drawPhases = (phases) => {
    for (const item of document.querySelectorAll("[data-phase]")) {
      const ms = phases[item.dataset.phase];
      write(item.querySelector("span"), ms === undefined ? "–" : ms.toFixed(ms < 10 ? 1 : 0));
    }
  };

  // A badge for each process; how it is stands there as a word whenever it is not up.
  const drawRanks = (ranks) => {
    const box = find("#pp1-ranks");
    const told = JSON.stringify(ranks);
    if (box.dataset.told === told) return;
    box.dataset.told = told;
    const badges = Object.entries(ranks).map(([rank, { pid, device, state }]) =>
      make(
        "span",
        { title: `rank ${rank}: ${state}, process ${pid} on ${device}`, "data-state": state },
        make("i"),
        make("b", {}, `rank ${rank}`),
        make("em", {}, state === "up" ? device : state),
      ),
    );
    box.replaceChildren(...badges);
  };

  return (state) => {
    const figures = state.figures || {};
    const toPixels = figures.prompt_to_pixels_ms;
    figure("fps", figures.fps?.toFixed(1));
    figure("to-pixels", toPixels === undefined ? undefined : `${Math.round(toPixels)} ms`);
    figure("chunk", state.chunk < 0 ? undefined : String(state.chunk));
    figure("epoch", String(state.epoch));
    figure("viewers", String(state.viewers));
    drawPhases(figures.phases_ms || {});
    drawRanks(state.ranks || {});
    for (const badge of document.querySelectorAll("[data-choice]")) {
      write(badge.querySelector("em"), String(state.config?.[badge.dataset.choice] ?? "–"));
    }
    write("#pp1-caption span", state.prompt || "");
    write("#pp1-pause", state.paused ? "Resume" : "Pause");
    const seed = find("#pp1-seed input");
    if (document.activeElement !== seed && seed.dataset.known !== String(state.seed)) {
      seed.value = seed.dataset.known = String(state.seed);
    }
  };
})();
