// Saves the current frame as a PNG file, in the size of the stream and without the page's blur.
"use strict";

window.pp1 = window.pp1 || {};

window.pp1.snapshot = async (name) => {
  const video = window.pp1.find("#pp1-video");
  if (!video.videoWidth) throw new Error("There is no frame yet.");
  const canvas = window.pp1.make("canvas", { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
  if (!blob) throw new Error("The frame could not be saved.");
  window.pp1.save(name, blob);
};
