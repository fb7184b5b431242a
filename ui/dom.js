// Helpers for the page's elements. Knows nothing of what they mean.
"use strict";

window.pp1 = window.pp1 || {};

window.pp1.find = (selector) => document.querySelector(selector);

// Set an element's text, but only if it differs: screen readers and layout react to each write.
window.pp1.write = (target, text) => {
  const element = typeof target === "string" ? document.querySelector(target) : target;
  if (element && element.textContent !== text) element.textContent = text;
};

window.pp1.make = (tag, properties = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element && !name.startsWith("aria-")) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
};

// Run `action` at once, then at most once every `interval()` milliseconds; the last call is never lost.
window.pp1.throttled = (interval, action) => {
  let [timer, last] = [null, -Infinity];
  const call = () => {
    if (timer) return;
    const wait = Math.max(0, last + interval() - performance.now());
    timer = setTimeout(() => {
      timer = null;
      last = performance.now();
      action();
    }, wait);
  };
  call.cancel = () => {
    clearTimeout(timer);
    timer = null;
  };
  return call;
};

window.pp1.save = (name, blob) => {
  const address = URL.createObjectURL(blob);
  window.pp1.make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
};
