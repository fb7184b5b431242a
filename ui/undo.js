// Steps back and forth through the prompts and seeds that this page has set. Knows nothing of how they are applied.
"use strict";

window.pp1 = window.pp1 || {};

window.pp1.Undo = class {
  static KEPT = 50;
  static ONE_GESTURE_MS = 1500;

  // show({update, seed}): apply what differs from now; the one that does not is left out.
  constructor(show) {
    this.show = show;
    this.steps = [{}];
    this.at = 0;
    this.gesture = null;
  }

  // Begin with what a stream has shown. entries: its recording, oldest first.
  begin(entries, toUpdate) {
    if (this.steps.length > 1) return;
    for (const entry of entries) {
      const shown = entry.prompt || entry.prompts?.length;
      this.push({ ...(shown && { update: toUpdate(entry) }), ...(entry.seed !== undefined && entry.seed !== null && { seed: entry.seed }) });
    }
  }

  // change: {update}, {seed} or both, which has been applied. gesture: changes with the same one, shortly after each
  // other, are one step. asked: when this one was asked for, which a slow server does not make later. Returns whether
  // it has become a part of the last step.
  push(change, gesture = null, asked = performance.now()) {
    const now = this.steps[this.at];
    const next = { ...now, ...change };
    if (this.same(next.update, now.update) && next.seed === now.seed) return false;
    const goesOn = gesture !== null && gesture === this.gesture && asked - this.gestureAt < this.constructor.ONE_GESTURE_MS;
    this.gesture = gesture;
    this.gestureAt = performance.now();
    const before = this.steps.slice(0, goesOn ? this.at : this.at + 1);
    this.steps = [...before, next].slice(-this.constructor.KEPT);
    this.at = this.steps.length - 1;
    return goesOn;
  }

  back() {
    return this.move(-1);
  }

  forth() {
    return this.move(1);
  }

  move(by) {
    const [now, target] = [this.steps[this.at], this.steps[this.at + by]];
    if (!target) return undefined;
    const change = {
      ...(target.update && !this.same(target.update, now.update) && { update: target.update }),
      ...(target.seed !== undefined && target.seed !== now.seed && { seed: target.seed }),
    };
    if (!Object.keys(change).length) return undefined; // nothing is known of the time before
    this.at += by;
    this.gesture = null;
    return this.show(change);
  }

  same(one, other) {
    return JSON.stringify(one) === JSON.stringify(other);
  }
};
