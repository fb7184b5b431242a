"""A real Prometheus beside a test: what it is told to scrape, and what it is asked."""

import contextlib
import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.system.program import free_port

BINARY = shutil.which("prometheus")
WAIT_S = 240


class Prometheus:
    """What it answers; nothing while it does not answer yet."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str) -> list[dict]:
        """The instant vector."""
        url = f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return json.load(answer)["data"]["result"]
        except OSError:
            return []

    def labels(self, expression: str, name: str) -> set[str]:
        return {row["metric"][name] for row in self.query(expression)}

    def fired(self, port: int, lately: str = "10m") -> set[str]:
        """Names of the alerts that have fired lately for the stream at this port."""
        series = f'ALERTS{{alertstate="firing",instance="127.0.0.1:{port}"}}'
        return self.labels(f"max_over_time({series}[{lately}])", "alertname")


@contextlib.contextmanager
def scraping(ports: Sequence[int], folder: Path, rules: Path) -> Iterator[Prometheus]:
    """A Prometheus that scrapes 127.0.0.1 at these ports every second, and keeps rules."""
    address = f"127.0.0.1:{free_port()}"
    config = folder / "prometheus.yml"
    job = {"job_name": "pp1", "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in ports]}]}
    every = {"scrape_interval": "1s"}
    config.write_text(json.dumps({"global": every, "scrape_configs": [job], "rule_files": [str(rules)]}))
    options = [
        f"--config.file={config}",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address={address}",
    ]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen([str(BINARY), *options], stdout=log, stderr=subprocess.STDOUT)
    try:
        yield Prometheus(f"http://{address}")
    finally:
        process.terminate()
        process.wait(WAIT_S)


def wait_for(condition: Callable[[], object], missing: Callable[[], object] = lambda: "it never came true") -> None:
    """Until the condition is true; else fails with what was missing."""
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, missing()
        time.sleep(0.3)
