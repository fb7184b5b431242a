"""What the web side leaves behind when it can't serve."""

import av
import pytest

from pp1_orchestrator.app.serve import Web
from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.server.port import bind
from tests.system.in_process import open_stream
from tests.system.program import free_port


def test_a_clip_is_finished_whatever_ends_the_serving(tmp_path):
    """Here another program has taken the port meanwhile."""
    port = free_port()
    with open_stream(f"serving.port={port}") as run:
        web = Web(run.settings, run.instruments, tmp_path)
        try:
            web._clips.start()
            with bind("127.0.0.1", port) as taken:
                taken.listen()
                with pytest.raises(ConfigError, match="already in use"):
                    web.serve(run.session)
        finally:
            web.close()
    with av.open(str(tmp_path / "clips" / "c1.mp4")) as container:
        assert list(container.decode(video=0)) != []
