// Connects the page's parts: sends user actions to the server, and its state and events to the parts.
"use strict";

(() => {
  const STATE_MS = 1000;
  const WEIGH_MS = 600; // the server allows two prompts a second for long
  const { find, request } = window.pp1;
  const page = { state: null, chunkAt: 0, player: "connecting", playerText: "", reachable: true };
  const events = new window.pp1.Events();
  const trends = new window.pp1.Trends();
  let composer, guide, receipts, history, undo, seed, plan, clip, lease;

  const attempt = (action) => window.pp1.attempt(find("#pp1-error"), action);

  // ---- user actions ----

  // onApplied(): the stream shows it.
  const send = async (update, onApplied) => {
    weigh.cancel(); // the update carries the sliders' values
    const { id } = await request("POST", "/api/prompt", update);
    composer.settle();
    page.sent = id;
    receipts.follow(id, onApplied);
  };

  const apply = () =>
    attempt(async () => {
      const update = composer.read();
      await events.ready();
      await send(update, () => {
        history.push(update);
        undo.push({ update });
      });
    });

  // isCue: only load it into the form.
  const pick = (update, isCue) => {
    composer.show(update);
    if (!isCue) return apply();
    composer.changed();
    composer.prompt.focus();
  };

  // A step back or forth: what it changes has been shown before, so it is no step of its own.
  const showAgain = ({ update, seed: value }) =>
    attempt(async () => {
      if (value !== undefined) await request("POST", "/api/control", { action: "seed", value });
      if (!update) return;
      composer.show(update);
      await send(update, () => history.push(update));
    });

  // A slider moves: what is shown follows it, if it is a blend of the same prompts.
  const weigh = window.pp1.throttled(() => Math.max(WEIGH_MS, 1000 * (page.state?.config?.chunk_s ?? 0)), () => {
    const update = composer.blended();
    const isOwn = receipts.shown === null || receipts.shown === page.sent; // nobody has shown something else since
    if (!update || !isOwn || !window.pp1.words.isSameBlend(update, history.updates[0])) return;
    const moved = performance.now();
    attempt(() =>
      send(update, () => {
        const goesOn = undo.push({ update }, "weights", moved);
        history.push(update, goesOn);
      }),
    );
  });

  const pause = () => control(page.state?.paused ? "resume" : "pause");
  const cut = () => control("hard_cut");
  const snapshot = () => attempt(() => window.pp1.snapshot(`pp1-chunk-${Math.max(0, page.state?.chunk ?? 0)}.png`, player.picture));
  const record = () => attempt(() => clip.toggle());
  const toggle = (id) => () => {
    const details = find(id);
    details.open = !details.open;
    details.querySelector("summary").focus();
  };

  const control = (action) => attempt(() => request("POST", "/api/control", { action }));

  const listen = () => {
    find("#pp1-apply").addEventListener("click", apply);
    find("#pp1-pause").addEventListener("click", pause);
    find("#pp1-cut").addEventListener("click", cut);
    find("#pp1-snapshot").addEventListener("click", snapshot);
    find("#pp1-lease").addEventListener("click", () => attempt(() => lease.act()));
    find("#pp1-record").addEventListener("click", record);
    for (const chip of document.querySelectorAll("#pp1-examples .chips button")) {
      window.pp1.onPick(chip, (isCue) => pick({ prompt: chip.textContent, ...composer.manner() }, isCue));
    }
    const write = () => composer.prompt.focus();
    const keys = { " ": pause, c: cut, s: snapshot, r: record, z: () => undo.back(), "shift+z": () => undo.forth(), p: write, "/": write };
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
    seed.draw(state);
    composer.setChunkSeconds(state.config?.chunk_s);
    plan.reached(state.chunk);
    history.setShown(state.prompt);
    if (state.chunk >= 0 && !page.isFilled) await fillFromHistory();
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

  // Fill history and form with what the stream has shown so far, also before a restart of the program. The form of a blend
  // is opened, so that it is seen.
  const fillFromHistory = async () => {
    const { updates } = await request("GET", "/api/history").catch(() => ({})); // tried again with the next state
    const { entries } = await request("GET", "/api/recording").catch(() => ({}));
    if (!updates || !entries) return;
    const [newest] = updates;
    if (!history.updates.length) updates.map(plain).reverse().forEach((update) => history.push(update));
    undo.begin(entries, plain);
    if (newest && composer.free) {
      composer.show(plain(newest));
      if (newest.prompts?.length > 1) find("#pp1-mix").open = true;
    }
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
    guide = new window.pp1.Guide();
    composer = new window.pp1.Composer({ onApply: apply, onWeigh: weigh, onTyped: (texts) => guide.typed(texts) });
    receipts = new window.pp1.Receipts(events, (update, ms) => trends.addUpdate(update, ms));
    history = new window.pp1.History(pick);
    undo = new window.pp1.Undo(showAgain);
    seed = new window.pp1.Seed((value) => undo.push({ seed: value }));
    plan = new window.pp1.Plan(events);
    clip = new window.pp1.Clip();
    lease = new window.pp1.Lease(refresh);
    new window.pp1.Share();
    new window.pp1.Timeline(() => (composer.prompt.value.trim() ? composer.read() : null));
    for (const name of ["visible", "epoch", "control", "clip", "lease", "rank", "restarting", "restarted"]) events.on(name, refresh);
    events.on("media", ({ state }) => state === "up" && player.renew());
    listen();
    events.open();
    poll();
    document.addEventListener("visibilitychange", () => document.visibilityState !== "hidden" && refresh());
  };

  // Gradio adds the parts of the page one by one.
  const needed = [
    "#pp1-status span", "#pp1-lease", "#pp1-video", "#pp1-fullscreen", "#pp1-share", "#pp1-snapshot", "#pp1-record", "#pp1-clip", "#pp1-prompt textarea", "#pp1-mix", "#pp1-apply", "#pp1-receipt", "#pp1-error", "#pp1-history",
    "#pp1-timeline", "#pp1-pause", "#pp1-cut", "#pp1-reset", "#pp1-seed input", "#pp1-dice", "#pp1-guide", "#pp1-live dl", "#pp1-ranks",
  ];
  const waitForPage = new MutationObserver(() => {
    if (!needed.every(find)) return;
    waitForPage.disconnect();
    start();
  });
  waitForPage.observe(document.documentElement, { childList: true, subtree: true });
})();
