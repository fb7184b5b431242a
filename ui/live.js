// The stream's figures, choices and commands' state, as /api/state has them.
"use strict";

window.pp1 = window.pp1 || {};

window.pp1.drawState = (() => {
  const { find, write } = window.pp1;
  const figure = (name, text) => write(`[data-figure="${name}"]`, text ?? "–");

  const drawPhases = (phases) => {
    for (const item of document.querySelectorAll("[data-phase]")) {
      const ms = phases[item.dataset.phase];
      write(item.querySelector("span"), ms === undefined ? "–" : ms.toFixed(ms < 10 ? 1 : 0));
    }
  };

  // What was chosen at the start, and can't be changed while the stream runs.
  const drawChoices = (config) => {
    const known = { ...config, size: config.width && `${config.width}×${config.height}` };
    for (const badge of document.querySelectorAll("[data-choice]")) {
      write(badge.querySelector("em"), String(known[badge.dataset.choice] ?? "–"));
    }
  };

  // standsStill: no chunks come, so that the rate of the last ones is none any more.
  return (state, standsStill) => {
    const figures = state.figures || {};
    const toPixels = figures.prompt_to_pixels_ms;
    figure("fps", standsStill ? "0.0" : figures.fps?.toFixed(1));
    figure("to-pixels", toPixels === undefined ? undefined : `${Math.round(toPixels)} ms`);
    figure("chunk", state.chunk < 0 ? undefined : String(state.chunk));
    figure("epoch", String(state.epoch));
    figure("viewers", String(state.viewers));
    drawPhases(figures.phases_ms || {});
    window.pp1.drawRanks(state.ranks || {});
    drawChoices(state.config || {});
    write("#pp1-caption span", state.prompt || "");
    write("#pp1-pause", state.paused ? "Resume" : "Pause");
    const seed = find("#pp1-seed input");
    if (document.activeElement !== seed && seed.dataset.known !== String(state.seed)) {
      seed.value = seed.dataset.known = String(state.seed);
    }
  };
})();
