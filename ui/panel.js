// Everything that the page does: it sends what people ask for and shows what the server says. HTTP only.
"use strict";

(() => {
  const STATE_MS = 1000;
  const STALL_MS = 3500;
  const find = (selector) => document.querySelector(selector);
  const page = { state: null, chunkAt: 0, player: "connecting", playerText: "", reachable: true, shown: null, touched: false, ready: false };

  const ask = async (path, body) => {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(await window.pp1.reason(answer));
    return answer.json();
  };

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

  const promptField = () => find("#pp1-prompt textarea");

  const writePrompt = (text) => {
    const field = promptField();
    field.value = text;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  };

  const apply = () => {
    const prompt = promptField().value.trim();
    page.touched = false;
    return attempt(async () => {
      if (!prompt) throw new Error("Type a prompt first.");
      const { id } = await ask("/api/prompt", { prompt });
      follow(id);
    });
  };

  const control = (action, value) => attempt(() => ask("/api/control", value === undefined ? { action } : { action, value }));

  const listen = () => {
    const field = promptField();
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      event.stopPropagation();
      apply();
    });
    field.addEventListener("input", (event) => (page.touched = page.touched || event.isTrusted));
    find("#pp1-apply").addEventListener("click", apply);
    find("#pp1-pause").addEventListener("click", () => control(page.state?.paused ? "resume" : "pause"));
    find("#pp1-cut").addEventListener("click", () => control("hard_cut"));
    find("#pp1-set-seed").addEventListener("click", setSeed);
    find("#pp1-seed input").addEventListener("keydown", (event) => event.key === "Enter" && setSeed());
    for (const chip of document.querySelectorAll("#pp1-examples .chips button")) {
      chip.addEventListener("click", () => {
        writePrompt(chip.textContent);
        apply();
      });
    }
  };

  const setSeed = () => {
    const text = find("#pp1-seed input").value;
    return attempt(async () => {
      if (!/^\d+$/.test(text)) throw new Error("A seed is a whole number from 0.");
      await ask("/api/control", { action: "seed", value: Number(text) });
    });
  };

  // ---- the receipt of a prompt: accepted, applied, on screen ----

  const receipts = new Map();

  const receipt = (id) => {
    if (!receipts.has(id)) receipts.set(id, {});
    if (receipts.size > 50) receipts.delete(receipts.keys().next().value);
    return receipts.get(id);
  };

  const follow = (id) => {
    page.shown = id;
    drawReceipt();
  };

  const drawReceipt = () => {
    const known = receipts.get(page.shown) || {};
    const say = (step, text) => {
      const item = find(`#pp1-receipt [data-step="${step}"]`);
      item.classList.toggle("done", text !== null);
      item.querySelector("span").textContent = text || "";
    };
    say("accepted", page.shown ? page.shown : null);
    say("applied", known.applied === undefined ? null : `chunk ${known.applied}`);
    const waits = known.superseded ? "a newer prompt came" : null;
    say("visible", known.latency === undefined ? waits : `${Math.round(known.latency)} ms · ${chunks(known.chunks)}`);
    const failed = known.failed !== undefined;
    find("#pp1-receipt").classList.toggle("failed", failed || Boolean(known.superseded));
  };

  const chunks = (count) => (count === 1 ? "1 chunk" : `${count} chunks`);

  const heard = {
    accepted: (event) => {
      receipt(event.update).accepted = true;
      page.shown = event.update;
    },
    applied: (event) => (receipt(event.update).applied = event.chunk),
    visible: (event) => Object.assign(receipt(event.update), { latency: event.latency_ms, chunks: event.latency_chunks, applied: event.chunk }),
    superseded: (event) => (receipt(event.update).superseded = true),
    failed: (event) => event.update && (receipt(event.update).failed = event.reason),
    epoch: () => refresh(),
    control: () => refresh(),
    rank: () => refresh(),
  };

  const openEvents = () => {
    const source = new EventSource("/api/events");
    for (const [name, take] of Object.entries(heard)) {
      source.addEventListener(name, (message) => {
        take(JSON.parse(message.data));
        drawReceipt();
      });
    }
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) setTimeout(openEvents, 2000);
    };
    window.addEventListener("pagehide", () => source.close(), { once: true });
  };

  // ---- what the server says of itself ----

  const refresh = async () => {
    try {
      const answer = await fetch("/api/state", { cache: "no-store" });
      if (!answer.ok) throw new Error(await window.pp1.reason(answer));
      const state = await answer.json();
      if (state.chunk !== page.state?.chunk || state.paused) page.chunkAt = performance.now();
      page.state = state;
      page.reachable = true;
      drawState(state);
    } catch {
      page.reachable = false;
    }
    drawStatus();
  };

  const poll = async () => {
    if (document.visibilityState !== "hidden") await refresh();
    setTimeout(poll, STATE_MS);
  };

  const write = (selector, text) => {
    const element = find(selector);
    if (element && element.textContent !== text) element.textContent = text;
  };

  const drawState = (state) => {
    const figures = state.figures || {};
    const figure = (name, text) => write(`[data-figure="${name}"]`, text ?? "–");
    figure("fps", figures.fps?.toFixed(1));
    const toPixels = figures.prompt_to_pixels_ms;
    figure("to-pixels", toPixels === undefined ? undefined : `${Math.round(toPixels)} ms`);
    figure("chunk", state.chunk < 0 ? undefined : String(state.chunk));
    figure("epoch", String(state.epoch));
    figure("viewers", String(state.viewers));
    drawPhases(figures.phases_ms || {});
    for (const badge of document.querySelectorAll("[data-choice]")) {
      write(`[data-choice="${badge.dataset.choice}"] em`, String(state.config?.[badge.dataset.choice] ?? "–"));
    }
    write("#pp1-caption span", state.prompt || "");
    write("#pp1-pause", state.paused ? "Resume" : "Pause");
    const field = promptField();
    if (!page.touched && !field.value && document.activeElement !== field) writePrompt(state.prompt || "");
    const seed = find("#pp1-seed input");
    if (document.activeElement !== seed && seed.dataset.known !== String(state.seed)) {
      seed.value = seed.dataset.known = String(state.seed);
    }
  };

  const drawPhases = (phases) => {
    const longest = Math.max(1, ...Object.values(phases));
    for (const row of document.querySelectorAll("[data-phase]")) {
      const ms = phases[row.dataset.phase];
      row.querySelector("u").style.width = `${(100 * (ms || 0)) / longest}%`;
      row.querySelector("span").textContent = ms === undefined ? "–" : ms.toFixed(ms < 10 ? 1 : 0);
    }
  };

  // ---- one word about all of it ----

  const status = () => {
    const state = page.state;
    if (!page.reachable) return ["lost", "Disconnected", "The server does not answer. Trying again."];
    if (state?.failed) return ["lost", "Failed", state.failed];
    if (page.player === "lost") return ["lost", "Reconnecting", page.playerText || "Trying again."];
    if (page.player === "connecting") return ["connecting", "Connecting", page.playerText || "Connecting to the stream"];
    if (state?.paused) return ["paused", "Paused", ""];
    if (state && state.chunk < 0) return ["connecting", "Starting", "The first chunk is being made"];
    if (state && performance.now() - page.chunkAt > STALL_MS) return ["stalled", "Stalled", ""];
    return ["live", "Live", ""];
  };

  const drawStatus = () => {
    const [kind, word, veil] = status();
    find("#pp1-status").dataset.state = kind;
    write("#pp1-status span", word);
    write("#pp1-veil span", veil);
    find("#pp1-veil").classList.toggle("clear", !veil);
  };

  // The picture is fetched while the page is still being built.
  const player = new window.pp1.Player((state, text) => {
    if (state === page.player && text === page.playerText) return;
    page.player = state;
    page.playerText = text;
    if (page.ready) drawStatus();
  });
  player.open();

  const start = () => {
    page.ready = true;
    player.attach(find("#pp1-video"));
    listen();
    openEvents();
    poll();
  };

  const needed = ["#pp1-video", "#pp1-prompt textarea", "#pp1-apply", "#pp1-seed input", "#pp1-receipt", "#pp1-live dl"];
  const waitForPage = new MutationObserver(() => {
    if (!needed.every(find)) return;
    waitForPage.disconnect();
    start();
  });
  waitForPage.observe(document.documentElement, { childList: true, subtree: true });
})();
