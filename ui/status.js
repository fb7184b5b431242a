// The status of server, stream and video in one word.
"use strict";

window.pp1 = window.pp1 || {};

// Why no chunks arrive, as [kind, word, text over the video]; null while they do.
window.pp1.stallReason = ({ state, quietMs }) => {
  const STALL_MS = 3500;
  if (!state) return null;
  if (state.paused) return ["paused", "Paused", "Paused: the last frame is shown"];
  if (state.chunk < 0) return ["connecting", "Starting", "The first chunk is being generated"];
  if (state.state === "restarting") return ["stalled", "Restarting", "The mesh failed and restarts"];
  if (quietMs > STALL_MS) return ["stalled", "Stalled", `No new chunk for ${Math.round(quietMs / 1000)} s`];
  return null;
};

// The status as [kind, word, text over the video]. Kinds: live, paused, stalled, connecting, full, lost. The last frame
// stays visible when paused or stalled.
window.pp1.statusOf = (page) => {
  const { state, reachable, player, playerText } = page;
  if (!reachable) return ["lost", "Disconnected", "The server does not respond. Trying again."];
  if (state?.failed) return ["lost", "Failed", state.failed];
  if (player === "full") return ["full", "Full", `${playerText}. Trying again every few seconds.`];
  if (player === "lost") return ["lost", "Reconnecting", playerText || "Trying again."];
  if (player === "connecting") return ["connecting", "Connecting", playerText || "Connecting to the stream"];
  return window.pp1.stallReason(page) ?? ["live", page.transport === "websocket" ? "Live · TCP" : "Live", ""];
};

window.pp1.TCP_TITLE = "The video comes over the page's own connection, because nothing passes by UDP; WebRTC is tried again";

window.pp1.drawStatus = ([kind, word, veil]) => {
  const { find, write } = window.pp1;
  find("#pp1-status").dataset.state = kind;
  find("#pp1-status").title = veil || (word.endsWith("TCP") ? window.pp1.TCP_TITLE : "Frames arrive and are shown");
  write("#pp1-status span", word);
  find("#pp1-veil").dataset.kind = kind;
  write("#pp1-veil span", veil);
  find("#pp1-veil").classList.toggle("clear", !veil);
  find("#pp1-veil").ariaHidden = String(!veil);
};
