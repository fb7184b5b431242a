"""Writes docs/licences.md: `python -m scripts.licences`.

What the program needs comes from pyproject.toml, each licence from the metadata of the package that is installed here.
Packages that only some machines need, such as NVIDIA's libraries below torch, are described in words.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "licences.md"
OLDEST = "3.11"
SOME_MACHINES = re.compile(r"nvidia-.*|cuda-.*|triton|colorama")
"""What dependencies need on a machine with a GPU, or on another system."""
NAMES = {
    "Apache": "Apache-2.0", "Apache 2.0 License": "Apache-2.0", "Apache License, Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0", "BSD 3-Clause": "BSD-3-Clause", "BSD License": "BSD",
    "ISC License": "ISC", "ISC License (ISCL)": "ISC", "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0", "Python Software Foundation License": "PSF-based",
}  # fmt: skip
"""What packages without an SPDX expression write, and what it stands for."""
FFMPEG = {"avcodec", "avdevice", "avfilter", "avformat", "avutil", "swresample", "swscale"}
BUNDLED = {
    "FFmpeg": (FFMPEG, "LGPL-3.0-or-later"),
    "x264": ({"x264"}, "**GPL-2.0-or-later**"),
    "x265": ({"x265"}, "**GPL-2.0-or-later**"),
    "libvpx (VP8, VP9)": ({"vpx"}, "BSD-3-Clause"),
    "SVT-AV1": ({"SvtAv1Enc"}, "BSD-3-Clause-Clear"),
    "dav1d": ({"dav1d"}, "BSD-2-Clause"),
    "Opus": ({"opus"}, "BSD-3-Clause"),
    "LAME (MP3)": ({"mp3lame"}, "LGPL-2.0-or-later"),
    "OpenCORE AMR": ({"opencore-amrnb", "opencore-amrwb"}, "Apache-2.0"),
    "libwebp": ({"webp", "webpmux", "sharpyuv"}, "BSD-3-Clause"),
    "GnuTLS": ({"gnutls"}, "LGPL-2.1-or-later"),
    "Nettle, GMP, libunistring": ({"nettle", "hogweed", "gmp", "unistring"}, "LGPL-3.0-or-later or GPL-2.0-or-later"),
    "oneVPL": ({"vpl"}, "MIT"),
    "ALSA": ({"asound"}, "LGPL-2.1-or-later"),
    "libdrm, X11 and XCB": ({"drm", "Xau", "xcb", "xcb-shape", "xcb-shm", "xcb-xfixes"}, "MIT"),
}
"""What PyAV's wheels bring: the names of the libraries, and the licence that their projects give them."""
HEAD = """# Licences

PP1 Orchestrator, its page and the shipped model are [Apache-2.0](../LICENSE). An installation also has the packages
below. This page tells what they say of themselves; it is no legal advice. `python -m scripts.licences` generates it,
and a test compares it with what is installed and with what PyAV's wheel contains.

**If you only run the program**, nothing here restricts you. **If you pass it on with its dependencies**, for example
as a container image, you also pass on x264 and x265: see below.
"""
CODECS = """## FFmpeg and its codecs

`av` (PyAV) itself is BSD-3-Clause. Its wheels contain FFmpeg and the libraries that FFmpeg was built with. This
FFmpeg calls itself "LGPL version 3 or later", but it links x264 and x265, which are GPL-2.0-or-later (or under a
commercial licence). Whoever passes the whole on must follow the GPL for it; above all, offer the source of these
libraries.

PP1 encodes live video as VP8 with libvpx. It uses x264 for `stream.mp4`, for clips, and for live video in H.264; it
never uses x265. To have neither, build PyAV from source against an FFmpeg without them: VP8 still works, `stream.mp4`
and clips do not.

H.264 and H.265 are also covered by patents in some countries. Ask their licensors if you sell what encodes them.

| library in PyAV's wheel | licence of its project |
|---|---|
"""
OTHERS = """
## What else may be there

- With CUDA builds of torch: NVIDIA's libraries (packages `nvidia-…` and `cuda-…`) under NVIDIA's terms, and Triton
  (MIT).
- With Python 3.13 or newer: `audioop-lts` (PSF-2.0).
- With the extra `flash`: FlashAttention-4 (BSD-3-Clause) and NVIDIA's CUTLASS DSL under NVIDIA's terms.
- Wheels of NumPy, pillow, torch and others bundle libraries, too. Their licences are in each package's `.dist-info`
  folder.
- Weights that you download have licences of their own: look at their pages on the hub.
"""


def normal(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def required() -> list[str]:
    """Names of what pyproject.toml asks for, without the extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [normal(Requirement(line).name) for line in project["dependencies"]]


def needed(names: Iterable[str], python: str = OLDEST) -> set[str]:
    """These packages and all that they need with that Python, except what only some machines need.

    What is not installed here, because this Python does not need it, is taken to need nothing itself.
    """
    found: set[tuple[str, frozenset[str]]] = set()
    waiting = [(name, frozenset[str]()) for name in names]
    while waiting:
        entry = waiting.pop()
        if entry not in found and not SOME_MACHINES.fullmatch(entry[0]):
            found.add(entry)
            waiting += _requirements(*entry, python)
    return {name for name, _ in found}


def _requirements(name: str, extras: frozenset[str], python: str) -> Iterator[tuple[str, frozenset[str]]]:
    """What an installed package asks for, each with its extras."""
    version = {"python_version": python, "python_full_version": f"{python}.0"}
    with suppress(metadata.PackageNotFoundError):
        for requirement in map(Requirement, metadata.requires(name) or ()):
            asked = [{"extra": extra, **version} for extra in ("", *extras)]
            if requirement.marker is None or any(map(requirement.marker.evaluate, asked)):
                yield normal(requirement.name), frozenset(requirement.extras)


def licence(name: str) -> str:
    """The SPDX expression of an installed package, or what older metadata amounts to. Raises ValueError for none."""
    about = metadata.metadata(name)
    classifiers = [line for line in about.get_all("Classifier") or () if line.startswith("License ::")]
    written = [
        *(about.get_all("License-Expression") or ()),
        *(line.rpartition(" :: ")[2] for line in classifiers),
        *(text.split("\n")[0] for text in about.get_all("License") or ()),
    ]
    said = next((text for text in written if text), "")
    if not said:
        raise ValueError(f"{name} says nothing of its licence")
    return NAMES.get(said, said)


def page() -> str:
    """The whole page."""
    return HEAD + "\n" + CODECS + "\n".join(_bundled()) + "\n" + OTHERS + "\n" + "\n".join(_packages()) + "\n"


def _bundled() -> Iterator[str]:
    for title, (_, terms) in BUNDLED.items():
        yield f"| {title} | {terms} |"


def _packages() -> Iterator[str]:
    direct = set(required())
    yield "## Python packages\n"
    yield "Bold: what the program itself imports or asks for. The others are needed by those.\n"
    yield "| package | licence |\n|---|---|"
    for name in sorted(needed(direct)):
        yield f"| {f'**{name}**' if name in direct else name} | {licence(name)} |"


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
