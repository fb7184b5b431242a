"""Objects with some of their methods replaced. Knows nothing of what they do."""

import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

Target = TypeVar("Target")


def override(target: Target, **methods: Callable[..., Any]) -> Target:
    """`target` with `methods` in place of its own. What `target` calls on itself stays its own."""
    return cast(Target, _Override(target, methods))


def delayed(target: Target, method: str, seconds: Callable[[Any], float]) -> Target:
    """`target` with a `method` that first sleeps.

    seconds: takes the method's first argument and returns how long to sleep.
    """
    call = getattr(target, method)

    def late(*args: Any, **kwargs: Any) -> Any:
        time.sleep(seconds(args[0]))
        return call(*args, **kwargs)

    return override(target, **{method: late})


class _Override:
    def __init__(self, target: object, methods: dict[str, Callable[..., Any]]) -> None:
        self._target = target
        vars(self).update(methods)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)
