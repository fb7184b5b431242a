// Updates of the stream in words. Pure: knows the interface's fields and nothing of the page.
"use strict";

window.pp1 = window.pp1 || {};

window.pp1.words = (() => {
  const chunks = (count) => (count === 1 ? "1 chunk" : `${count} chunks`);

  const minutes = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

  const bytes = (count) => {
    const [unit, name] = [[1e9, "GB"], [1e6, "MB"]].find(([size]) => count >= size) || [1e3, "kB"];
    const value = count / unit;
    return `${value < 10 && unit > 1e3 ? value.toFixed(1) : Math.ceil(value)} ${name}`;
  };

  // Parts of a whole, which is what weights mean; all zero means equal.
  const shares = (weights) => {
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return weights.map((weight) => Math.round((100 * (sum ? weight : 1)) / (sum || weights.length)));
  };

  const prompts = (update) => {
    if (!update.prompts?.length) return update.prompt || "";
    const parts = shares(update.prompts.map(({ weight = 1 }) => weight));
    return update.prompts.map(({ text }, index) => `${parts[index]} % ${text}`).join(" + ");
  };

  // What the server calls it.
  const label = (update) => {
    if (!(update.prompts?.length > 1)) return update.prompt ?? update.prompts?.[0]?.text ?? "";
    return update.prompts.map(({ text, weight = 1 }) => `${weight.toFixed(2)} × ${text}`).join(" + ");
  };

  // How it is reached, where that is not at once and with the history kept.
  const manner = (update) => {
    const said = [];
    if (update.transition?.steps > 1) said.push(`over ${chunks(update.transition.steps)}`);
    if (update.transition?.steps > 1 && update.transition.method === "slerp") said.push("slerp");
    if (update.cut && update.cut !== "soft") said.push(update.cut);
    return said.join(" · ");
  };

  return { chunks, minutes, bytes, shares, prompts, label, manner };
})();
