"""The distribution as a user gets it: built from a copy of the repository, installed into fresh environments.

An environment sees this one's dependencies, but neither the repository nor what is installed from it here.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "outputs", "build", "dist", "*.egg-info")
"""What builds and tests leave behind. A stale list of files in it would hide that one is missing."""
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
LIMIT_S = 500


def run(*command: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """What the command writes to standard output. Raises AssertionError with all it said when it fails."""
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@dataclass(frozen=True, slots=True)
class Installed:
    """An environment and a working folder outside of any checkout."""

    folder: Path
    work: Path

    @property
    def pp1(self) -> Path:
        return self.folder / "bin" / "pp1"

    @property
    def site_packages(self) -> Path:
        return Path(sysconfig.get_path("purelib", vars={"base": str(self.folder)}))

    def environment(self, **variables: str) -> dict[str, str]:
        """Of a shell in which the environment is active."""
        path = os.pathsep.join([str(self.folder / "bin"), os.environ["PATH"]])
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return inherited | {"PATH": path} | variables

    def run(self, *command: str | Path, **variables: str) -> str:
        return run(*command, cwd=self.work, env=self.environment(**variables))


def copy_repository(folder: Path) -> Path:
    """The repository as a clone has it: links stay links."""
    return shutil.copytree(ROOT, folder, symlinks=True, ignore=LEFT_OUT)


def build(source: Path, folder: Path) -> tuple[Path, Path]:
    """The source archive, and the wheel that is built from it."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, source, cwd=folder.parent)
    (archive,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return archive, wheel


def new_environment(folder: Path) -> Installed:
    """With this environment's dependencies. Of a folder that a .pth file names, its own .pth files are not read."""
    venv.create(folder / "environment")
    installed = Installed(folder / "environment", folder / "work")
    installed.work.mkdir()
    paths = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    (installed.site_packages / "dependencies.pth").write_text("\n".join(sorted(paths)) + "\n")
    return installed


def install(installed: Installed, *what: str | Path) -> None:
    python = installed.folder / "bin" / "python"
    options = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--no-warn-script-location")
    run(*PIP, "--python", python, "install", *options, *what, cwd=installed.work, env=installed.environment())
