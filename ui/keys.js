// Keyboard shortcuts: one key each, never while something is being written. The header's "?" lists them.
"use strict";

window.pp1 = window.pp1 || {};

// actions: by key, as the event names it in lower case.
window.pp1.listenToKeys = (actions) => {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.isComposing) return;
    const { target } = event;
    if (target.closest?.("input, textarea, select, [contenteditable=true]")) {
      if (event.key === "Escape") target.blur();
      return;
    }
    if (event.key === " " && target.closest?.("button, summary, a")) return; // its own use of the key
    const action = actions[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    action();
  });
};
