// The page with the picture alone. ?fit=cover fills the window, and cuts off what does not fit.
"use strict";

(() => {
  const screen = window.pp1.find("main");
  const fit = new URLSearchParams(location.search).get("fit");
  if (fit === "cover") screen.classList.add("cover");

  const player = new window.pp1.Player((state, text) => {
    document.body.dataset.state = state;
    if (state === "lost" || state === "full") console.info(text);
  });
  player.attach(window.pp1.find("video"));
  player.open();

  const toggle = () => (document.fullscreenElement ? document.exitFullscreen() : screen.requestFullscreen());
  screen.addEventListener("dblclick", toggle);
  window.pp1.listenToKeys({ f: toggle });

  // A projector's screen stays on, where the browser allows it.
  const stayAwake = () => document.visibilityState === "visible" && navigator.wakeLock?.request("screen").catch(() => {});
  document.addEventListener("visibilitychange", stayAwake);
  stayAwake();
})();
