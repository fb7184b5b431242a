"""Both pixel formats, compared with the converter of the video codecs."""

import av
import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from pp1_orchestrator.models.vae.pixel_format import to_host, to_rgb24, to_yuv420p

HEIGHT, WIDTH = 64, 96


def smooth(count: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Frames without edges [T, 3, H, W], as decoded, some of them beyond −1…1."""
    coarse = torch.randn(count, 3, 4, 6, generator=torch.Generator().manual_seed(1))
    return interpolate(coarse, (HEIGHT, WIDTH), mode="bicubic").to(dtype)


def planes(frame: np.ndarray) -> tuple[np.ndarray, ...]:
    """[3·H/2, W] -> Y and both colours, signed."""
    signed = frame.astype(np.int16)
    return signed[:HEIGHT], *signed[HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2)


def converted(rgb: np.ndarray) -> np.ndarray:
    return av.VideoFrame.from_ndarray(rgb, format="rgb24").to_ndarray(format="yuv420p")


def test_pixels_are_rounded_and_clamped():
    values = torch.linspace(-1.2, 1.2, 2 * 3 * 4 * 5).view(2, 3, 4, 5)
    wanted = np.clip(np.rint((values.numpy() + np.float32(1)) * np.float32(127.5)), 0, 255).astype(np.uint8)
    assert np.array_equal(to_rgb24(values).numpy(), wanted.transpose(0, 2, 3, 1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_planes_are_those_that_a_codec_makes_of_rgb(dtype):
    pixels = smooth(3, dtype)
    made = to_yuv420p(pixels)
    assert (made.shape, made.dtype, made.is_contiguous()) == ((3, 3 * HEIGHT // 2, WIDTH), torch.uint8, True)
    for frame, rgb in zip(made.numpy(), to_rgb24(pixels).numpy(), strict=True):
        off = [np.abs(own - its) for own, its in zip(planes(frame), planes(converted(rgb)), strict=True)]
        assert off[0].max() <= 1
        assert max(colour.max() for colour in off[1:]) <= 4  # at edges: a converter's filter is not a mean of four
        assert max(plane.mean() for plane in off) < 0.5


@pytest.mark.parametrize(
    ("colour", "y", "u", "v"),
    [
        ((-1, -1, -1), 16, 128, 128),
        ((1, 1, 1), 235, 128, 128),
        ((1, -1, -1), 81, 90, 240),
        ((-1, 1, -1), 145, 54, 34),
        ((-1, -1, 1), 41, 240, 110),
        ((9, 9, 9), 235, 128, 128),
    ],
)
def test_pure_colours_are_where_the_standard_has_them(colour, y, u, v):
    pixels = torch.tensor(colour, dtype=torch.float32).view(1, 3, 1, 1).expand(1, 3, HEIGHT, WIDTH)
    found = planes(to_yuv420p(pixels)[0].numpy())
    for plane, wanted in zip(found, (y, u, v), strict=True):
        assert np.all(plane == wanted)


def test_what_is_in_the_hosts_memory_is_not_copied():
    made = to_yuv420p(smooth(1))
    assert to_host(made) is made
