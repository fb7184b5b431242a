"""Where the server listens, who may talk to it, and how much it takes from them."""

from __future__ import annotations

from dataclasses import dataclass, field

from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.media.sdp import is_loopback_host
from pp1_orchestrator.types import MAX_PROMPT_CHARS, MAX_PROMPTS


@dataclass(frozen=True, slots=True)
class Rate:
    """So many a second in the long run, and `burst` at once."""

    per_s: float
    burst: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on everything a client can make grow. Sizes in bytes, times in seconds."""

    body_bytes: int = 64 * 1024
    body_s: float = 10.0
    header_bytes: int = 16 * 1024
    header_s: int = 5
    prompt_chars: int = MAX_PROMPT_CHARS
    prompts: int = MAX_PROMPTS
    event_streams: int = 32
    heartbeat_s: float = 5.0
    connections: int = 256
    offers: Rate = Rate(2, 16)
    prompt_updates: Rate = Rate(2, 20)
    changes: Rate = Rate(5, 40)
    """Of one client, as the two above: commands and timelines."""
    guesses: Rate = Rate(5, 40)
    """Of one client, too: tokens that are wrong."""
    clients: int = 1024
    """So many are remembered for the rates."""
    lease_s: float = 10.0
    """Who holds control, or waits for it, is forgotten after so much silence."""
    lease_waiting: int = 16
    name_chars: int = 40
    """Of whoever holds control."""
    shutdown_s: int = 2
    """How long open connections may take to end before they are cut."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """token: for everything; view_token: for watching alone.

    Raises ConfigError when anybody could reach the server from elsewhere, or the tokens make no difference.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    token: str | None = None
    view_token: str | None = None
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.view_token and (not self.token or self.view_token == self.token):
            raise ConfigError(
                "serving.view_token: without another serving.token everybody could change the stream; set both, and "
                "not to the same"
            )
        if not self.loopback and not self.token:
            raise ConfigError(
                f"serving.host={self.host}: other machines could use it, so serving.token must be set; "
                "without a token only a loopback address such as 127.0.0.1 is allowed"
            )

    def tokens(self) -> dict[str, bool]:
        """Each token, and whether it is good for more than watching."""
        return {token: may for token, may in ((self.token, True), (self.view_token, False)) if token}

    @property
    def loopback(self) -> bool:
        return is_loopback_host(self.host)
