// The current picture as a PNG file, in the stream's own size and without the page's softening.
"use strict";

window.pp1 = window.pp1 || {};

window.pp1.snapshot = async (name) => {
  const video = window.pp1.find("#pp1-video");
  if (!video.videoWidth) throw new Error("There is no picture yet.");
  const canvas = window.pp1.make("canvas", { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
  if (!blob) throw new Error("The picture could not be saved.");
  window.pp1.save(name, blob);
};
