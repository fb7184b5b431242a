"""What can be checked before torch is imported, which takes seconds, and before a process is started.

Knows nothing of models, and of files only whether they are there.
"""

import ssl
from pathlib import Path

from pp1_orchestrator.app.strategy_rules import check_built_in
from pp1_orchestrator.config.schema import ServingSettings, Settings
from pp1_orchestrator.errors import ConfigError, RequestError
from pp1_orchestrator.media.ice_servers import check_ice_servers
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.server.port import check_port
from pp1_orchestrator.server.server_settings import ServerSettings
from pp1_orchestrator.server.tls import tls_context
from pp1_orchestrator.stage0.timeline import read_script
from pp1_orchestrator.stage0.validation import check_takes_strength, parse_update
from pp1_orchestrator.types import PromptUpdate
from pp1_orchestrator.user_paths import user_path

STREAMING = ("serve", "bench")


def check_first(settings: Settings, config: WanConfig) -> None:
    """Raises ConfigError for a port, an address, a strategy's setting, a prompt, a script or a model that can't be
    used. config: the generator's sizes."""
    if settings.run.name == "serve":
        serving = settings.serving
        tls = (
            tls_context(None, serving.tls_cert, serving.tls_key, serving.host, Path()) if serving.tls is None else None
        )
        server_settings(serving, tls)
        check_port(settings.serving.host, settings.serving.port)
    check_built_in(settings, config)
    check_prompt(settings)
    if settings.run.script is not None:
        _check_script(settings)
    if settings.run.name in STREAMING:
        _check_weights(settings)


def _check_script(settings: Settings) -> None:
    script = read_script(user_path(settings.run.script or ""))
    try:
        check_takes_strength(script, settings.source.active)
    except RequestError as error:
        raise ConfigError(f"run.script={settings.run.script}: {error}") from error


def check_prompt(settings: Settings) -> None:
    """Raises ConfigError for a `run.prompt` that can't be shown."""
    try:
        parse_update(PromptUpdate(prompt=settings.run.prompt))
    except RequestError as error:
        raise ConfigError(f"run.prompt={settings.run.prompt:.40}: {error}") from error


def server_settings(serving: ServingSettings, tls: ssl.SSLContext | None = None) -> ServerSettings:
    """What the server is given of the settings. Raises ConfigError."""
    servers = check_ice_servers((each.addresses, each.username, each.credential) for each in serving.ice_servers)
    return ServerSettings(
        serving.host,
        serving.port,
        serving.token,
        serving.view_token,
        serving.root_path,
        serving.frame_ancestors,
        tls,
        servers,
    )


def _check_weights(settings: Settings) -> None:
    """Whether a generator is there at all. What is in its files is checked once they can be read."""
    model, path = settings.model, settings.model.part("generator")
    if model.weights == "checkpoint" and not path.exists():
        raise ConfigError(f"model.root={model.root}: {path}: no such file; docs/models.md lists the files")
