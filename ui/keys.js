// Keyboard shortcuts of one key each, inactive in text fields. The "?" in the header lists them.
"use strict";

window.pp1 = window.pp1 || {};

// actions: by `event.key` in lower case, after "shift+" where the two differ.
window.pp1.listenToKeys = (actions) => {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.isComposing) return;
    const { target } = event;
    if (target.closest?.("input, textarea, select, [contenteditable=true]")) {
      if (event.key === "Escape") target.blur();
      return;
    }
    if (event.key === " " && target.closest?.("button, summary, a")) return; // the element uses the key itself
    const key = event.key.toLowerCase();
    const action = (event.shiftKey && actions[`shift+${key}`]) || actions[key];
    if (!action) return;
    event.preventDefault();
    action();
  });
};
