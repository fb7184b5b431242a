// One word about all of it: the server, the stream and the video together.
"use strict";

window.pp1 = window.pp1 || {};

// Why no chunks come, as [kind, word, what it says over the picture]; null while they do.
window.pp1.standsStill = ({ state, quietMs }) => {
  const STALL_MS = 3500;
  if (!state) return null;
  if (state.paused) return ["paused", "Paused", "Paused: the picture is held"];
  if (state.chunk < 0) return ["connecting", "Starting", "The first chunk is being made"];
  if (state.state === "restarting") return ["stalled", "Restarting", "The mesh failed and is started anew"];
  if (quietMs > STALL_MS) return ["stalled", "Stalled", `No new chunk for ${Math.round(quietMs / 1000)} s`];
  return null;
};

// Of what the page knows, [kind, word, what it says over the picture]. Kinds: live, paused, stalled, connecting,
// full and lost. Of the paused and stalled the picture stays in sight.
window.pp1.statusOf = (page) => {
  const { state, reachable, player, playerText } = page;
  if (!reachable) return ["lost", "Disconnected", "The server does not answer. Trying again."];
  if (state?.failed) return ["lost", "Failed", state.failed];
  if (player === "full") return ["full", "Full", `${playerText}. Trying for one every few seconds.`];
  if (player === "lost") return ["lost", "Reconnecting", playerText || "Trying again."];
  if (player === "connecting") return ["connecting", "Connecting", playerText || "Connecting to the stream"];
  return window.pp1.standsStill(page) ?? ["live", "Live", ""];
};

window.pp1.drawStatus = ([kind, word, veil]) => {
  const { find, write } = window.pp1;
  find("#pp1-status").dataset.state = kind;
  write("#pp1-status span", word);
  find("#pp1-veil").dataset.kind = kind;
  if (veil) write("#pp1-veil span", veil);
  find("#pp1-veil").classList.toggle("clear", !veil);
};
