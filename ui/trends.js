// Keeps about a minute of figures for the charts: one sample whenever there are new chunks.
"use strict";

window.pp1 = window.pp1 || {};

window.pp1.Trends = class {
  static SAMPLES = 48;
  static UPDATES = 12;
  static PHASES = ["denoise", "context", "decode", "text"];

  constructor() {
    this.samples = [];
    this.updates = [];
    this.chunks = -1;
  }

  // Add phases and rate of a state, if it has new chunks.
  sample({ figures = {}, config = {} }) {
    if (figures.fps === undefined || figures.fps === null || figures.chunks === this.chunks) return;
    if (figures.chunks < this.chunks) this.samples = []; // another run
    this.chunks = figures.chunks;
    this.samples = [...this.samples, { fps: figures.fps, ...figures.phases_ms }].slice(-this.constructor.SAMPLES);
    this.target = config.fps;
    this.draw();
  }

  // Add a prompt that has become visible. ms: since it was accepted.
  addUpdate(update, ms) {
    this.updates = [...this.updates, { update, value: ms, title: `${update}: ${Math.round(ms)} ms` }].slice(-this.constructor.UPDATES);
    const { find, write, charts } = window.pp1;
    const label = this.updates.map(({ title }) => title).join(", ");
    charts.bars(find("#pp1-chart-latency"), `Prompt to screen, of the last prompts: ${label}`, this.updates, this.constructor.UPDATES);
    write('[data-figure="latency"]', `${Math.round(ms)} ms`);
    write("#pp1-slowest", `up to ${Math.round(Math.max(...this.updates.map(({ value }) => value)))} ms`);
  }

  draw() {
    const { find, write, charts } = window.pp1;
    const { SAMPLES, PHASES } = this.constructor;
    const last = this.samples.at(-1);
    const phases = PHASES.map((name) => `${name} ${last[name] ?? "–"}`).join(", ");
    charts.stack(find("#pp1-chart-phases"), `Milliseconds a chunk, newest: ${phases}`, this.samples, PHASES, SAMPLES);
    const fps = this.samples.map((sample) => sample.fps);
    const label = `Frames a second, newest ${last.fps}${this.target ? `, target ${this.target}` : ""}`;
    charts.line(find("#pp1-chart-fps"), label, fps, this.target, SAMPLES);
    write("#pp1-target", this.target ? `target ${this.target}` : "");
  }
};
