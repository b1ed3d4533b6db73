"""Listens to JAX's durations, for as long as a test wants to."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
from jax._src import monitoring


@contextlib.contextmanager
def durations() -> Iterator[list[tuple[str, float]]]:
    """Give a list that fills with each event and its seconds.

    Only the private list of listeners can be shortened by one on every JAX: 0.4.13 has no other
    way, later versions have several.
    """
    heard: list[tuple[str, float]] = []

    def listen(event: str, seconds: float, **_: Any) -> None:
        heard.append((event, seconds))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield heard
    finally:
        monitoring._event_duration_secs_listeners.remove(listen)
