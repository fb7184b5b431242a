// Saves the current frame as a PNG file, in the size of the stream and without the page's blur.
"use strict";

window.pp1 = window.pp1 || {};

// picture: of the player.
window.pp1.snapshot = async (name, { element, width, height }) => {
  if (!width) throw new Error("There is no frame yet.");
  const canvas = window.pp1.make("canvas", { width, height });
  canvas.getContext("2d").drawImage(element, 0, 0);
  const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
  if (!blob) throw new Error("The frame could not be saved.");
  window.pp1.save(name, blob);
};
