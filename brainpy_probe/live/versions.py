"""Which BrainPy and JAX are installed, and whether the probe was tested with them together."""

from __future__ import annotations

import functools
import importlib.metadata
import re

from brainpy_probe.live import seams
from brainpy_probe.live.userline import warn

__all__ = ["installed", "stack", "untested"]


def installed(package: str) -> str | None:
    """Return the version of a package, or None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def stack() -> str | None:
    """Return the name of the tested stack that is installed, or None.

    The first three numbers of both versions count: JAX moves private names in any release, but
    not in a rebuild of one (0.12.0 and 0.12.0.1).
    """
    found = _release(installed("brainpy")), _release(installed("jax"))
    for name, brainpy, jax in seams.TESTED:
        if found == (_release(brainpy), _release(jax)):
            return name
    return None


@functools.cache
def untested() -> str:
    """Return a sentence if the installed versions are no tested stack; warn of it once."""
    if stack() is not None:
        return ""
    tested = ", ".join(f"{brainpy} on {jax}" for _, brainpy, jax in seams.TESTED)
    sentence = (
        f"BrainPy {installed('brainpy')} on JAX {installed('jax')} was not tested with the probe, "
        f"but has what it needs. Tested: {tested}."
    )
    warn(sentence)
    return sentence


def _release(version: str | None) -> tuple[str, ...]:
    return tuple(re.findall(r"\d+", version or "")[:3])
