// Formats updates and numbers as text. Pure functions that know nothing of the page.
"use strict";

window.pp1 = window.pp1 || {};

window.pp1.words = (() => {
  const chunks = (count) => (count === 1 ? "1 chunk" : `${count} chunks`);

  const seconds = (count) => `${count < 10 ? count.toFixed(1) : Math.round(count)} s`;

  // Characters as people see them: a letter with its marks, or a whole emoji, is one.
  const visible = (text) => [...new Intl.Segmenter().segment(text)].length;

  const minutes = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

  const bytes = (count) => {
    const [unit, name] = [[1e9, "GB"], [1e6, "MB"]].find(([size]) => count >= size) || [1e3, "kB"];
    const value = count / unit;
    return `${value < 10 && unit > 1e3 ? value.toFixed(1) : Math.ceil(value)} ${name}`;
  };

  // Weights as percentages; all zero means equal shares.
  const shares = (weights) => {
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return weights.map((weight) => Math.round((100 * (sum ? weight : 1)) / (sum || weights.length)));
  };

  const prompts = (update) => {
    if (!update.prompts?.length) return update.prompt || "";
    const parts = shares(update.prompts.map(({ weight = 1 }) => weight));
    return update.prompts.map(({ text }, index) => `${parts[index]} % ${text}`).join(" + ");
  };

  // Whether two updates blend the same prompts in the same way, with whatever weights.
  const isSameBlend = (one, other) => {
    const texts = (update) => JSON.stringify([update?.prompts?.map(({ text }) => text), update?.blend ?? "linear"]);
    return one.prompts?.length > 1 && texts(one) === texts(other);
  };

  // The server's name for an update.
  const label = (update) => {
    if (!(update.prompts?.length > 1)) return update.prompt ?? update.prompts?.[0]?.text ?? "";
    return update.prompts.map(({ text, weight = 1 }) => `${weight.toFixed(2)} × ${text}`).join(" + ");
  };

  // Transition and cut, where they are not the default.
  const manner = (update) => {
    const parts = [];
    if (update.transition?.steps > 1) parts.push(`over ${chunks(update.transition.steps)}`);
    if (update.transition?.steps > 1 && update.transition.method === "slerp") parts.push("slerp");
    if (update.cut && update.cut !== "soft") parts.push(update.cut);
    return parts.join(" · ");
  };

  return { isSameBlend, chunks, seconds, visible, minutes, bytes, shares, prompts, label, manner };
})();
