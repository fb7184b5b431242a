"""The page of licences: it agrees with what is installed, and nothing is in it that was not thought about."""

import re
import tomllib
from pathlib import Path

import av
import pytest
from av._core import library_meta

from scripts.licences import BUNDLED, OLDEST, ROOT, TARGET, licence, needed, normal, page, required

PERMISSIVE = {
    "0BSD", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "CNRI-Python", "ISC",
    "LLVM-exception", "MIT", "MIT-0", "MIT-CMU", "PSF-2.0", "PSF-based", "Zlib",
}  # fmt: skip
OF_SINGLE_FILES = {"MPL-2.0"}
"""Copyleft for the files of the package itself, which nobody here changes."""

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
VERSIONS = [line.rpartition(" ")[2] for line in PYPROJECT["project"]["classifiers"] if ":: Python ::" in line]


def test_the_oldest_python_is_the_page_s():
    assert VERSIONS[0] == OLDEST


def test_the_page_is_what_the_installed_packages_say():
    assert TARGET.read_text(encoding="utf-8") == page(), "python -m scripts.licences"


def test_every_licence_is_one_that_asks_for_no_more_than_to_be_passed_on():
    named = {name: set(re.findall(r"[\w.-]+", licence(name))) - {"AND", "OR", "WITH"} for name in needed(required())}
    assert len(named) > 50
    assert {name: words for name, words in named.items() if not words <= PERMISSIVE | OF_SINGLE_FILES} == {}


@pytest.mark.parametrize("python", VERSIONS)
def test_every_package_is_pinned_for_every_python(python):
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert needed(required(), python) - {normal(line.partition("==")[0]) for line in lines} == set()


def test_pyav_bundles_what_the_page_lists():
    folder = Path(av.__file__).parents[1] / "av.libs"
    if not folder.is_dir():
        pytest.skip("this PyAV was not installed from a wheel for Linux")
    names = {re.sub(r"^lib|-[0-9a-f]{8}\.so.*$", "", path.name) for path in folder.iterdir()}
    assert names == set().union(*(libraries for libraries, _ in BUNDLED.values()))


def test_ffmpeg_says_of_itself_what_the_page_says():
    assert {about["license"] for about in library_meta.values()} == {"LGPL version 3 or later"}
    assert '"LGPL version 3 or later"' in page()
