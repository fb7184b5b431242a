"""Images and service without Docker and systemd: what is copied is there, and what they promise is in the files."""

import re
import shlex
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from deploy.__main__ import ROOT
from deploy.healthcheck import PORT

IMAGES = ("Dockerfile", "Dockerfile.cuda")
UNIT = ROOT / "deploy/pp1.service"


@dataclass(frozen=True)
class Instruction:
    name: str
    words: list[str]


def instructions(image: str) -> list[Instruction]:
    text = re.sub(r"^#.*\n", "", (ROOT / image).read_text(encoding="utf-8"), flags=re.M).replace("\\\n", " ")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    return [Instruction(name, rest.split()) for name, rest in lines]


def copied(image: str) -> set[str]:
    """What is taken from the context, by its path there."""
    copies = [
        step.words for step in instructions(image) if step.name == "COPY" and not step.words[0].startswith("--from")
    ]
    return {source for words in copies for source in words[:-1]}


def last(image: str, name: str) -> list[str]:
    return [step.words for step in instructions(image) if step.name == name][-1]


@pytest.mark.parametrize("image", IMAGES)
def test_the_context_is_what_is_copied(image):
    """Nothing else is sent: the first pattern leaves everything out, the others take back what is needed."""
    patterns = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in patterns if line and not line.startswith("#")]
    assert patterns[0] == "*"
    assert {line.removeprefix("!") for line in patterns if line.startswith("!")} == copied(image)
    assert all((ROOT / source).exists() for source in copied(image))


@pytest.mark.parametrize("image", IMAGES)
def test_what_a_wheel_is_made_of_is_copied(image):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    links = {link.name for link in (ROOT / "pp1_orchestrator").iterdir() if link.is_symlink()}
    needed = {
        "pyproject.toml",
        project["readme"],
        *project["license-files"],
        "pp1_orchestrator",
        "hydra_plugins",
        *links,
    }
    assert needed <= copied(image)


@pytest.mark.parametrize("image", IMAGES)
def test_the_program_runs_as_nobody_in_particular(image):
    assert int(last(image, "USER")[0]) >= 10000
    assert last(image, "ENTRYPOINT") == ['["pp1"]']


@pytest.mark.parametrize("image", IMAGES)
def test_its_health_is_what_healthz_says_at_the_default_port(image):
    """`test_healthcheck.py` has what the check does."""
    serving = yaml.safe_load((ROOT / "conf/config.yaml").read_text(encoding="utf-8"))["serving"]
    to = next(s.words[1] for s in instructions(image) if s.name == "COPY" and s.words[0] == "deploy/healthcheck.py")
    assert last(image, "HEALTHCHECK")[-1] == f'"{to}"]'
    assert serving["port"] == PORT
    assert last(image, "EXPOSE") == [str(serving["port"])]


@pytest.mark.parametrize("image", IMAGES)
def test_a_linter_has_no_complaint(image):
    if shutil.which("hadolint") is None:
        pytest.skip("there is no hadolint")
    done = subprocess.run(["hadolint", image], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_compose_builds_the_image_and_gives_the_program_time_to_stop():
    stream = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text(encoding="utf-8"))["services"]["pp1"]
    folder = ROOT / "deploy" / stream["build"]["context"]
    assert (folder / re.sub(r"\$\{\w+:-(.*)\}", r"\1", stream["build"]["dockerfile"])).is_file()
    assert "WORKDIR /home/pp1\n" in (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert stream["volumes"] == ["pp1:/home/pp1"]
    stop_s = yaml.safe_load((ROOT / "conf/config.yaml").read_text(encoding="utf-8"))["deadlines"]["stop"]
    assert int(stream["stop_grace_period"].removesuffix("s")) >= stop_s + 10
    assert f"TimeoutStopSec={stream['stop_grace_period'].removesuffix('s')}" in UNIT.read_text(encoding="utf-8")


def test_systemd_understands_the_unit(tmp_path: Path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze")
    text = UNIT.read_text(encoding="utf-8")
    (command,) = re.findall(r"^ExecStart=(.*)$", text, re.M)
    assert shlex.split(command) == ["/opt/pp1/bin/pp1", "$PP1_OPTIONS"]
    unit = tmp_path / UNIT.name
    unit.write_text(text.replace("/opt/pp1/bin/pp1", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
