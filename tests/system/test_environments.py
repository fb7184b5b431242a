"""The program where its environment is odd: it works, or it says in one line why not. Nothing else is printed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import av
import psutil
import pytest

from tests.documented import ROOT
from tests.system.program import free_port, running

PLAN = ("run=plan", "layout=inline")
WORKS = {
    "SOCKS proxy": {"ALL_PROXY": "socks5://127.0.0.1:1080"},
    "SOCKS proxy in small letters": {"all_proxy": "socks5h://127.0.0.1:1"},
    "IPv6 in NO_PROXY": {"NO_PROXY": "localhost,127.0.0.1,::1,[::1],fd00::/8", "HTTP_PROXY": "http://127.0.0.1:9"},
    "a proxy that is no address": {"HTTPS_PROXY": "::::", "https_proxy": "ftp://x y"},
    "metrics of several processes, no folder": {"PROMETHEUS_MULTIPROC_DIR": "/nonexistent"},
    "the same by its old name": {"prometheus_multiproc_dir": "/nonexistent"},
    "Gradio behind another path": {"GRADIO_ROOT_PATH": "/elsewhere", "GRADIO_SSR_MODE": "true"},
    "Gradio shared": {"GRADIO_SHARE": "True", "GRADIO_ANALYTICS_ENABLED": "True", "GRADIO_SERVER_PORT": "x"},
    "Gradio's folders": {"GRADIO_TEMP_DIR": "/nonexistent/x", "GRADIO_ALLOWED_PATHS": "/", "GRADIO_CACHE_DIR": "/nope"},
    "Gradio's threads": {"GRADIO_NUM_WORKERS": "many", "GRADIO_MCP_SERVER": "True", "GRADIO_THEME": "nothing/there"},
    "uvicorn's workers": {"WEB_CONCURRENCY": "many", "FORWARDED_ALLOW_IPS": "*"},
    "no home": {"HOME": "/nonexistent", "XDG_CACHE_HOME": "/nonexistent/cache"},
    "no folder for temporary files": {"TMPDIR": "/nonexistent", "TEMP": "/nonexistent"},
    "an odd time zone": {"TZ": "Not/AZone"},
    "ranks of another launcher": {"RANK": "3", "WORLD_SIZE": "8", "MASTER_ADDR": "nowhere", "MASTER_PORT": "x"},
    "threads that are no number": {"OMP_NUM_THREADS": "abc", "MKL_NUM_THREADS": "-1"},
    "a log level": {"LOGLEVEL": "DEBUG", "PYTHONWARNINGS": "ignore"},
    "Matplotlib's backend": {"MPLBACKEND": "nothing", "MPLCONFIGDIR": "/nonexistent"},
    "the hub": {"HF_HOME": "/nonexistent", "HF_ENDPOINT": "http://127.0.0.1:9"},
    "torch": {"TORCH_CPP_LOG_LEVEL": "INFO", "PYTORCH_CUDA_ALLOC_CONF": "rubbish:1", "CUDA_VISIBLE_DEVICES": "none"},
    "warnings as errors": {"PYTHONWARNINGS": "error"},
    "OpenSSL": {"SSL_CERT_FILE": "/nonexistent", "SSLKEYLOGFILE": "/nonexistent/keys"},
}
ENCODINGS = {
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "ascii, strict": {"PYTHONIOENCODING": "ascii:strict"},
    "C without UTF-8": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    "POSIX": {"LC_ALL": "POSIX", "LANG": "", "PYTHONUTF8": "0"},
    "a locale that is not here": {"LC_ALL": "xx_YY.utf8"},
}
OWN_MODULES = ("ui", "conf", "deploy", "scripts", "training", "benchmarks", "hydra_plugins")


def environment(**variables: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **variables}


def run(*options: str, cwd: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "pp1_orchestrator", *options]
    return subprocess.run(
        words, cwd=cwd, env=environment(**variables), capture_output=True, text=True, timeout=300, errors="replace"
    )


def works_or_says_why_not(done: subprocess.CompletedProcess[str]) -> bool:
    """Whether it works."""
    said = done.stdout + done.stderr
    assert "Traceback" not in said, said
    assert "Logging error" not in said, said
    if done.returncode == 0:
        return True
    assert done.returncode == 2, said
    assert len(done.stderr.splitlines()) == 1, said
    return False


@pytest.mark.slow
@pytest.mark.parametrize("variables", WORKS.values(), ids=WORKS.keys())
def test_it_serves(tmp_path, variables):
    with running("layout=inline", out=tmp_path / "out", environment=environment(**variables)) as program:
        program.wait_until_ready()
        assert program.get("/")[0] == 200
        program.process.send_signal(signal.SIGTERM)
        program.wait_until_ended()
        assert "Traceback" not in program.log


@pytest.mark.slow
@pytest.mark.parametrize("variables", ENCODINGS.values(), ids=ENCODINGS.keys())
def test_it_prints_in_any_encoding(tmp_path, variables):
    options = ("run=bench", "run.chunks=2", "run.warmup_chunks=0", "layout=inline", "log.format=json")
    done = run(
        *options, "log.prompts=true", "run.prompt=红色圆 é", "hydra.run.dir=out", cwd=tmp_path, variables=variables
    )
    if works_or_says_why_not(done):
        assert (tmp_path / "out" / "summary.json").is_file()
        assert works_or_says_why_not(run(*PLAN, "hydra.run.dir=plan", cwd=tmp_path, variables=variables))
        assert (tmp_path / "plan" / "plan.json").is_file()


@pytest.mark.slow
def test_folders_with_the_names_of_ours_are_not_taken_for_them(tmp_path):
    for name in OWN_MODULES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
    done = run("run=bench", "run.chunks=2", "run.warmup_chunks=0", "layout=inline", cwd=tmp_path, variables={})
    assert works_or_says_why_not(done)


@pytest.mark.slow
def test_a_closed_terminal_ends_it_and_its_clip_is_finished(tmp_path):
    out = tmp_path / "out"
    with running("layout=inline", out=out) as program:
        program.wait_until_ready()
        program.post("/api/clips", {"action": "start"})
        program.wait_until(lambda: program.state()["clip"]["seconds"] > 1)
        program.process.send_signal(signal.SIGHUP)
        program.wait_until_ended()
    with av.open(str(out / "clips" / "c1.mp4")) as clip:
        assert sum(1 for _ in clip.decode(video=0)) > 8
    assert {"recording.yaml", "summary.json"} <= {path.name for path in out.iterdir()}


@pytest.mark.slow
def test_a_closed_terminal_reaches_all_processes_and_rank_0_ends_them(tmp_path):
    """The whole foreground group gets the signal: ranks and the media process leave the end to rank 0."""
    out = tmp_path / "out"
    with running(
        "layout=cpu", "layout.mesh_ranks=1", out=out, cold=True
    ) as program:  # the helper that forks ranks is the real one
        program.wait_until_ready()
        program.post("/api/clips", {"action": "start"})
        program.wait_until(lambda: program.state()["clip"]["seconds"] > 1)
        family = program.family()
        assert program.media_processes()
        os.killpg(program.process.pid, signal.SIGHUP)
        program.wait_until_ended()
        assert not [line for line in program.log.splitlines() if "SIGHUP" in line or " WARNING " in line]
    assert psutil.wait_procs(family[1:], timeout=120)[1] == []
    with av.open(str(out / "clips" / "c1.mp4")) as clip:
        assert sum(1 for _ in clip.decode(video=0)) > 8


@pytest.mark.slow
def test_nohup_keeps_it_running(tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        started = running("layout=inline", out=tmp_path / "out", environment=environment())
        with started as program:
            program.wait_until_ready()
            program.process.send_signal(signal.SIGHUP)
            chunk = program.state()["chunk"]
            program.wait_until(lambda: program.state()["chunk"] > chunk + 1)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.slow
def test_two_starts_in_one_second_have_two_folders(tmp_path):
    words = [sys.executable, "-m", "pp1_orchestrator", *PLAN]
    # A clock that stands still: both ask for the folder of the same second.
    fixed = ["hydra.run.dir='${new_folder:outputs/12-00-00}'"]
    starts = [subprocess.Popen([*words, *fixed], cwd=tmp_path, env=environment()) for _ in range(2)]
    assert [start.wait(300) for start in starts] == [0, 0]
    folders = sorted(path.name for path in (tmp_path / "outputs").iterdir())
    assert folders == ["12-00-00", "12-00-00-2"]
    for name in folders:
        assert (tmp_path / "outputs" / name / "plan.json").is_file()


REFUSED = {
    "no prompt": (["run.prompt=''"], "run.prompt=: prompt is empty"),
    "a blank prompt": (["run.prompt='   '"], "run.prompt=   : prompt is empty"),
    "a prompt that is too long": (
        ["run.prompt=" + "a" * 3199],
        "run.prompt=" + "a" * 40 + ": prompt has 3199 characters",
    ),
    "a certificate without its key": (["serving.tls_cert=a.pem"], "serving.tls_key=null: needed together with"),
    "a certificate that is not there": (
        ["serving.tls_cert=/nowhere/a.pem", "serving.tls_key=/nowhere/b.pem"],
        "serving.tls_cert=/nowhere/a.pem: can't be read: No such file or directory",
    ),
    "a server that is not in a list": (
        ['serving.ice_servers={urls: "turn:a.example", username: u, credential: swordfish}'],
        "serving.ice_servers=…: not the kind of value that this key has",
    ),
    "a path that is none": (["serving.root_path=pp1"], "serving.root_path=pp1: expected a path such as /pp1"),
}


REFUSED_VARIABLES = {
    "torch's logs": (
        {"TORCH_LOGS": "garbage"},
        "TORCH_LOGS=garbage: torch refuses the environment: Invalid log settings",
    ),
    "level of torch": (
        {"TORCH_DISTRIBUTED_DEBUG": "garbage"},
        "TORCH_DISTRIBUTED_DEBUG=garbage: torch refuses the environment: The value of TORCH_DISTRIBUTED_DEBUG must be",
    ),
    "no docstrings": ({"PYTHONOPTIMIZE": "2"}, "PYTHONOPTIMIZE=2 (-OO): libraries need their docstrings"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("variables", "line"), REFUSED_VARIABLES.values(), ids=REFUSED_VARIABLES.keys())
def test_a_variable_that_a_library_refuses_is_one_line(tmp_path, variables, line):
    done = run("run=bench", "run.chunks=2", cwd=tmp_path, variables=variables)
    assert not works_or_says_why_not(done)
    assert done.stderr.startswith(f"configuration error: {line}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_mesh_starts_where_temporary_files_have_a_long_path(tmp_path):
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    done = run("run=bench", "run.chunks=2", "layout.mesh_ranks=1", cwd=tmp_path, variables={"TMPDIR": str(folder)})
    assert works_or_says_why_not(done), done.stderr


@pytest.mark.parametrize(("options", "line"), REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.slow
def test_a_refused_command_is_one_line_and_leaves_no_folder(tmp_path, options, line):
    done = run(f"serving.port={free_port()}", "layout=inline", *options, cwd=tmp_path, variables={})
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"configuration error: {line}")
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
