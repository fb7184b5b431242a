"""What a second encode costs: VP8, which viewers get, and H.264 for those that can't take it, of the same frames.

    python -m benchmarks.second_codec --seconds 20 --size 480x832 128x128

Both encode each frame one after the other, not in real time, as the broadcaster does while there is such a viewer.
Frames are a soft texture that moves two pixels a frame, with a little noise. Prints the processor time of a frame, and
its share of a core at the rate of the stream: what `rate(pp1_encode_seconds_total[1m])` shows on an idle machine.
"""

import argparse
import sys
import time
from collections.abc import Iterator

import torch
from torch.nn.functional import interpolate

from benchmarks.machine import describe
from pp1_orchestrator.media.encoder import LiveEncoder
from pp1_orchestrator.media.frames import Frame, to_yuv420p
from pp1_orchestrator.media.media_settings import Codec, VideoSettings

CODECS: tuple[Codec, ...] = ("vp8", "h264")
STEP, CELLS, NOISE = 2, 12, 4.0
"""Pixels a frame; cells of the texture along each side; of 255."""
HEAD = "| stream | codec | ms of processor time a frame | of a core | kbit/s |\n|---|---|---|---|---|\n"
WARM = 16
"""Frames before the measurement."""


def moving(height: int, width: int, count: int) -> Iterator[Frame]:
    """uint8 frames [height, width, 3], the same for each call."""
    generator = torch.Generator().manual_seed(0)
    cells = torch.rand(1, 3, CELLS, CELLS, generator=generator)
    texture = 255 * interpolate(cells, (height, 2 * width), mode="bicubic").clamp(0, 1)[0].permute(1, 2, 0)
    for number in range(count):
        at = STEP * number % width
        noise = NOISE * torch.randn(height, width, 1, generator=generator)
        yield (texture[:, at : at + width] + noise).clamp(0, 255).to(torch.uint8).numpy()


def measure(height: int, width: int, fps: float, seconds: float) -> str:
    """A row of the table for each codec."""
    encoders: dict[Codec, LiveEncoder] = {c: LiveEncoder(VideoSettings(height, width, fps, c)) for c in CODECS}
    spent, sizes, counted = dict.fromkeys(CODECS, 0.0), dict.fromkeys(CODECS, 0), round(seconds * fps)
    for number, frame in enumerate(moving(height, width, counted + WARM)):
        for codec, encoder in encoders.items():
            start_s = time.process_time()
            packets = encoder.encode(to_yuv420p(frame), number / fps, keyframe=False)
            if number >= WARM:
                spent[codec] += time.process_time() - start_s
                sizes[codec] += sum(packet.size for packet in packets)
    rows = ""
    for codec in CODECS:
        ms, kbits = 1000 * spent[codec] / counted, 8 * sizes[codec] * fps / counted / 1000
        rows += f"| {height}×{width}, {fps:g} FPS | {codec} | {ms:.1f} | {ms * fps / 10:.1f} % | {kbits:.0f} |\n"
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--fps", type=float, default=16.0)
    parser.add_argument("--size", nargs="+", default=["480x832", "128x128"], help="HEIGHTxWIDTH")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sys.stdout.write(f"{describe()}\n{HEAD}")
    for size in arguments.size:
        height, width = map(int, size.split("x"))
        sys.stdout.write(measure(height, width, arguments.fps, arguments.seconds))


if __name__ == "__main__":
    main()
