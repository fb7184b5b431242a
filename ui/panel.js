// Connects the page's parts: sends user actions to the server, and its state and events to the parts.
"use strict";

(() => {
  const STATE_MS = 1000;
  const { find, request } = window.pp1;
  const page = { state: null, chunkAt: 0, player: "connecting", playerText: "", reachable: true };
  const events = new window.pp1.Events();
  const trends = new window.pp1.Trends();
  let composer, receipts, history, plan, clip, lease;

  const attempt = (action) => window.pp1.attempt(find("#pp1-error"), action);

  // ---- user actions ----

  const apply = () =>
    attempt(async () => {
      const update = composer.read();
      composer.typed = false;
      await events.ready();
      const { id } = await request("POST", "/api/prompt", update);
      receipts.follow(id, () => history.push(update));
    });

  const applyAgain = (update) => {
    composer.show(update);
    return apply();
  };

  const pause = () => control(page.state?.paused ? "resume" : "pause");
  const cut = () => control("hard_cut");
  const snapshot = () => attempt(() => window.pp1.snapshot(`pp1-chunk-${Math.max(0, page.state?.chunk ?? 0)}.png`, player.picture));
  const record = () => attempt(() => clip.toggle());
  const toggle = (id) => () => {
    const details = find(id);
    details.open = !details.open;
    details.querySelector("summary").focus();
  };

  const control = (action, value) => attempt(() => request("POST", "/api/control", value === undefined ? { action } : { action, value }));

  // A new seed, which also drops the history.
  const reset = () => control("seed", crypto.getRandomValues(new Uint32Array(1))[0] >>> 1);

  const setSeed = () => {
    const text = find("#pp1-seed input").value;
    return attempt(async () => {
      if (!/^\d+$/.test(text)) throw new Error("A seed is a whole number from 0.");
      await request("POST", "/api/control", { action: "seed", value: Number(text) });
    });
  };

  const listen = () => {
    find("#pp1-apply").addEventListener("click", apply);
    find("#pp1-pause").addEventListener("click", pause);
    find("#pp1-cut").addEventListener("click", cut);
    find("#pp1-reset").addEventListener("click", reset);
    find("#pp1-snapshot").addEventListener("click", snapshot);
    find("#pp1-lease").addEventListener("click", () => attempt(() => lease.act()));
    find("#pp1-record").addEventListener("click", record);
    find("#pp1-set-seed").addEventListener("click", setSeed);
    find("#pp1-seed input").addEventListener("keydown", (event) => event.key === "Enter" && setSeed());
    for (const chip of document.querySelectorAll("#pp1-examples .chips button")) {
      chip.addEventListener("click", () => {
        composer.showPrompts([{ text: chip.textContent }]);
        apply();
      });
    }
    const write = () => composer.prompt.focus();
    const keys = { " ": pause, c: cut, s: snapshot, r: record, z: () => history.back(), p: write, "/": write };
    const fullscreen = new window.pp1.Fullscreen(find(".screen"), find("#pp1-fullscreen"));
    keys.f = () => fullscreen.toggle();
    keys.b = toggle("#pp1-mix");
    keys.t = toggle("#pp1-timeline");
    keys["?"] = () => find("#pp1-keys").togglePopover();
    const ofOperators = Object.entries(keys).filter(([key]) => !"sf?".includes(key));
    for (const [key, action] of ofOperators) keys[key] = () => page.state?.may_change && action();
    window.pp1.listenToKeys(keys);
  };

  // ---- state and events ----

  const refresh = async () => {
    try {
      const state = await request("GET", "/api/state");
      if (state.chunk !== page.state?.chunk || state.paused) page.chunkAt = performance.now();
      page.state = state;
      page.reachable = true;
    } catch {
      page.reachable = false;
    }
    drawStatus();
    if (page.reachable) await showState(page.state);
  };

  const showState = async (state) => {
    document.body.classList.toggle("pp1-viewer", !state.may_change);
    window.pp1.drawState(state, Boolean(window.pp1.stallReason(pageState())));
    trends.sample(state);
    clip.draw(state.clip);
    lease.draw(state.lease);
    plan.reached(state.chunk);
    history.setShown(state.prompt);
    if (state.chunk >= 0 && !page.isFilled) await fillFromRecording();
  };

  const poll = async () => {
    try {
      if (document.visibilityState !== "hidden") await refresh();
    } finally {
      setTimeout(poll, STATE_MS);
    }
  };

  const pageState = () => ({ ...page, quietMs: performance.now() - page.chunkAt });

  const drawStatus = () => {
    if (composer) window.pp1.drawStatus(window.pp1.statusOf(pageState()));
  };

  const plain = ({ prompt, prompts, blend }) => (prompts?.length ? { prompts, blend } : { prompt });

  // Fill history and form from what the stream has shown so far. A blend is not put into the form, which would hide most
  // of it.
  const fillFromRecording = async () => {
    const { entries } = await request("GET", "/api/recording").catch(() => ({})); // tried again with the next state
    if (!entries) return;
    const shown = entries.filter((entry) => entry.prompt || entry.prompts?.length);
    const newest = shown.at(-1);
    if (!history.updates.length) shown.slice(-window.pp1.History.KEPT).forEach((entry) => history.push(plain(entry)));
    if (newest?.prompt && composer.free) composer.showPrompts([{ text: newest.prompt }]);
    page.isFilled = true;
  };

  // ---- start ----

  // Connect to the video while the page is still being built.
  const player = new window.pp1.Player((state, text, transport = "") => {
    if (state === page.player && text === page.playerText && transport === page.transport) return;
    Object.assign(page, { player: state, playerText: text, transport });
    drawStatus();
  });
  player.open();

  const start = () => {
    player.attach(find("#pp1-video"));
    composer = new window.pp1.Composer(apply);
    receipts = new window.pp1.Receipts(events);
    history = new window.pp1.History(applyAgain);
    plan = new window.pp1.Plan(events);
    clip = new window.pp1.Clip();
    lease = new window.pp1.Lease(refresh);
    new window.pp1.Share();
    new window.pp1.Timeline(() => (composer.prompt.value.trim() ? composer.read() : null));
    events.on("visible", async ({ update }) => {
      await refresh();
      trends.addUpdate(update, page.state?.figures?.prompt_to_pixels_ms);
    });
    for (const name of ["epoch", "control", "clip", "lease", "rank", "restarting", "restarted"]) events.on(name, refresh);
    events.on("media", ({ state }) => state === "up" && player.renew());
    listen();
    events.open();
    poll();
    document.addEventListener("visibilitychange", () => document.visibilityState !== "hidden" && refresh());
  };

  // Gradio adds the parts of the page one by one.
  const needed = [
    "#pp1-status span", "#pp1-lease", "#pp1-video", "#pp1-fullscreen", "#pp1-share", "#pp1-snapshot", "#pp1-record", "#pp1-clip", "#pp1-prompt textarea", "#pp1-mix", "#pp1-apply", "#pp1-receipt", "#pp1-error", "#pp1-history",
    "#pp1-timeline", "#pp1-pause", "#pp1-cut", "#pp1-reset", "#pp1-seed input", "#pp1-set-seed", "#pp1-live dl", "#pp1-ranks",
  ];
  const waitForPage = new MutationObserver(() => {
    if (!needed.every(find)) return;
    waitForPage.disconnect();
    start();
  });
  waitForPage.observe(document.documentElement, { childList: true, subtree: true });
})();
