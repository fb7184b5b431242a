"""A stream as a GPU hands it on, made on a CPU: its pictures come as planes."""

import av
import numpy as np

from pp1_orchestrator.app import stream as app_stream
from pp1_orchestrator.media.mp4_sink import Mp4Recorder
from pp1_orchestrator.models.vae.pixel_format import to_yuv420p
from tests.system.in_process import run_script

CHUNKS, FRAMES, SIZE = 2, 9 + 12, 64
RGB, PLANES = (SIZE, SIZE, 3), (3 * SIZE // 2, SIZE)


def recorded(path, chunks) -> np.ndarray:
    """The file that a recording of these chunks is, decoded: [T, H, W, 3]."""
    recorder = Mp4Recorder(path, 16, SIZE, SIZE)
    for chunk in chunks:
        recorder.put(chunk)
    recorder.close()
    with av.open(str(path)) as video:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]).astype(np.int16)


def test_a_stream_of_planes_shows_what_one_of_rgb_shows(monkeypatch, tmp_path):
    videos = []
    for shape in (RGB, PLANES):
        summary, run = run_script(chunks=CHUNKS)
        assert summary.frames == FRAMES
        assert {tuple(chunk.frames.shape[1:]) for chunk in run.sink.chunks} == {shape}
        videos.append(recorded(tmp_path / f"{len(shape)}.mp4", run.sink.chunks))
        monkeypatch.setattr(app_stream, "pixel_format_for", lambda device: to_yuv420p)
    rgb, planes = videos
    assert rgb.shape == planes.shape == (FRAMES, SIZE, SIZE, 3)
    assert np.abs(rgb - planes).mean() < 3  # of 255: both went through a lossy codec
    assert rgb.std() > 10, "a picture of something"
