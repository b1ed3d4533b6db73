"""Listens to the durations that JAX reports, during a block."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
from jax._src import monitoring


@contextlib.contextmanager
def durations() -> Iterator[list[tuple[str, float]]]:
    """Yield a list to which each event is appended with its seconds.

    The listener is removed from JAX's private list, because no public function removes it on every
    version: 0.4.13 has none, later versions have several.
    """
    heard: list[tuple[str, float]] = []

    def listen(event: str, seconds: float, **_: Any) -> None:
        heard.append((event, seconds))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield heard
    finally:
        monitoring._event_duration_secs_listeners.remove(listen)
