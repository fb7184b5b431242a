// Puts the page's parts together: what people do goes to the server, what the server says goes to the parts.
"use strict";

(() => {
  const STATE_MS = 1000;
  const { find, ask, words } = window.pp1;
  const page = { state: null, chunkAt: 0, player: "connecting", playerText: "", reachable: true };
  const events = new window.pp1.Events();
  let composer, receipts;

  const attempt = async (action) => {
    const box = find("#pp1-error");
    try {
      await action();
      box.hidden = true;
    } catch (error) {
      box.textContent = error instanceof TypeError ? "The server can't be reached." : error.message;
      box.hidden = false;
    }
  };

  // ---- asking ----

  const apply = () =>
    attempt(async () => {
      const update = composer.read();
      composer.typed = false;
      const { id } = await ask("POST", "/api/prompt", update);
      receipts.follow(id);
    });

  const control = (action, value) => attempt(() => ask("POST", "/api/control", value === undefined ? { action } : { action, value }));

  const setSeed = () => {
    const text = find("#pp1-seed input").value;
    return attempt(async () => {
      if (!/^\d+$/.test(text)) throw new Error("A seed is a whole number from 0.");
      await ask("POST", "/api/control", { action: "seed", value: Number(text) });
    });
  };

  const listen = () => {
    find("#pp1-apply").addEventListener("click", apply);
    find("#pp1-pause").addEventListener("click", () => control(page.state?.paused ? "resume" : "pause"));
    find("#pp1-cut").addEventListener("click", () => control("hard_cut"));
    find("#pp1-set-seed").addEventListener("click", setSeed);
    find("#pp1-seed input").addEventListener("keydown", (event) => event.key === "Enter" && setSeed());
    for (const chip of document.querySelectorAll("#pp1-examples .chips button")) {
      chip.addEventListener("click", () => {
        composer.showPrompts([{ text: chip.textContent }]);
        apply();
      });
    }
  };

  // ---- hearing ----

  const refresh = async () => {
    try {
      const state = await ask("GET", "/api/state");
      if (state.chunk !== page.state?.chunk || state.paused) page.chunkAt = performance.now();
      page.state = state;
      page.reachable = true;
      window.pp1.drawState(state);
    } catch {
      page.reachable = false;
    }
    drawStatus();
  };

  const poll = async () => {
    if (document.visibilityState !== "hidden") await refresh();
    setTimeout(poll, STATE_MS);
  };

  const drawStatus = () => {
    if (composer) window.pp1.drawStatus(window.pp1.statusOf({ ...page, quietMs: performance.now() - page.chunkAt }));
  };

  // What the stream shows when the page comes; a blend is not put into the form, where it would be hidden.
  const greet = async () => {
    const { entries } = await ask("GET", "/api/recording");
    const newest = entries.findLast((entry) => entry.prompt || entry.prompts?.length);
    if (newest?.prompt && composer.free) composer.showPrompts([{ text: newest.prompt }]);
  };

  // ---- starting ----

  // The picture is fetched while the page is still being built.
  const player = new window.pp1.Player((state, text) => {
    if (state === page.player && text === page.playerText) return;
    page.player = state;
    page.playerText = text;
    drawStatus();
  });
  player.open();

  const start = () => {
    composer = new window.pp1.Composer(apply);
    receipts = new window.pp1.Receipts(events);
    for (const name of ["epoch", "control", "rank"]) events.on(name, refresh);
    player.attach(find("#pp1-video"));
    listen();
    events.open();
    poll();
    attempt(greet);
  };

  const needed = ["#pp1-video", "#pp1-prompt textarea", "#pp1-apply", "#pp1-rows", "#pp1-seed input", "#pp1-receipt", "#pp1-live dl"];
  const waitForPage = new MutationObserver(() => {
    if (!needed.every(find)) return;
    waitForPage.disconnect();
    start();
  });
  waitForPage.observe(document.documentElement, { childList: true, subtree: true });
})();
