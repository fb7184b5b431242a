// Draws the figures, configuration and button labels from /api/state.
"use strict";

window.pp1 = window.pp1 || {};

window.pp1.drawState = (() => {
  const { write } = window.pp1;
  const figure = (name, text) => write(`[data-figure="${name}"]`, text ?? "–");

  const drawPhases = (phases) => {
    for (const item of document.querySelectorAll("[data-phase]")) {
      const ms = phases[item.dataset.phase];
      write(item.querySelector("span"), ms === undefined ? "–" : ms.toFixed(ms < 10 ? 1 : 0));
    }
  };

  // The configuration, which is fixed for the run.
  const drawChoices = (config) => {
    const known = { ...config, size: config.width && `${config.width}×${config.height}` };
    for (const badge of document.querySelectorAll("[data-choice]")) {
      write(badge.querySelector("em"), String(known[badge.dataset.choice] ?? "–"));
    }
  };

  // isStalled: no chunks arrive, so the rate of past chunks no longer holds.
  return (state, isStalled) => {
    const figures = state.figures || {};
    figure("fps", isStalled ? "0.0" : figures.fps?.toFixed(1));
    figure("chunk", state.chunk < 0 ? undefined : String(state.chunk));
    figure("epoch", String(state.epoch));
    figure("viewers", String(state.viewers));
    drawPhases(figures.phases_ms || {});
    window.pp1.drawRanks(state.ranks || {});
    drawChoices(state.config || {});
    write("#pp1-caption span", state.prompt || "");
    write("#pp1-pause", state.paused ? "Resume" : "Pause");
  };
})();
