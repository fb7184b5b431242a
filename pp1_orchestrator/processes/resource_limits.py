"""What the operating system lets this process have, and how the errors look when that is too little. Imports no torch:
it says so before torch is loaded, which would abort without a word about the reason."""

import errno
import resource

from pp1_orchestrator.errors import ConfigError, Stage0Error, named_line

LEAST_ADDRESS_SPACE_KB = 2_000 * 1024
"""As `ulimit -v` counts it. The smallest model in one process needs a little less."""
CODES = (errno.ENOMEM, errno.EAGAIN)
WORDS = (
    "bad_alloc", "can't allocate", "can't start new thread", "cannot allocate", "failed to map segment",
    "resource temporarily unavailable",
)  # fmt: skip
"""In the texts of Python, of torch and of the loader of shared libraries."""


def check_address_space() -> None:
    """Raises ConfigError for a limit with which nothing can be loaded."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < LEAST_ADDRESS_SPACE_KB * 1024:
        raise ConfigError(
            f"ulimit -v: {limit // 1024} KB of address space are too few; at least {LEAST_ADDRESS_SPACE_KB} KB must be "
            "allowed"
        )


def shortage(error: Exception) -> Stage0Error | None:
    """An error that tells in one line that this process got no more memory, threads or processes. None for others."""
    text = str(error).lower()
    short = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in CODES)
    if short or any(word in text for word in WORDS):
        return Stage0Error(
            f"the system gives this process no more memory, threads or processes ({named_line(error)}): see ulimit -a, "
            "and the limits of its container"
        )
    return None
