"""The installed versions of BrainPy and JAX, and whether the tests cover them."""

from __future__ import annotations

import functools
import importlib.metadata
import re

from brainpy_probe.compat import (  # noqa: F401 - each module adds its names to the table
    bindings,
    brainpy_model,
    brainpy_runner,
    brainpy_transforms,
    jax_compiler,
    jax_tracing,
)
from brainpy_probe.compat.lookup import NAMES, PrivateName, take
from brainpy_probe.errors import PrivateNameMissing
from brainpy_probe.user_warnings import warn

__all__ = ["NAMES", "PACKAGES", "TESTED", "expected", "installed", "resolve", "stack", "untested"]

# The packages whose versions a capture records.
PACKAGES = ("brainpy-probe", "brainpy", "brainstate", "brainevent", "jax", "jaxlib", "numpy")

# Name, BrainPy, JAX. The test suite passes on each.
TESTED: tuple[tuple[str, str, str], ...] = (
    ("2022", "2.3.8", "0.4.13"),
    ("2023", "2.4.6.post5", "0.4.23"),
    ("2024", "2.6.0", "0.4.30"),
    ("py311", "2.8.2", "0.10.2"),
    ("latest", "2.9.0", "0.12.0.1"),
)


def expected() -> dict[str, PrivateName]:
    """Return the private names of the installed BrainPy's era; all names if there is no BrainPy."""
    try:
        era = "brainstate" if brainpy_model.on_brainstate() else "variables"
    except PrivateNameMissing:
        return NAMES
    return {name: private for name, private in NAMES.items() if private.era in ("", era)}


def resolve() -> None:
    """Look up every private name that a capture uses, so that none turns out missing during a run.

    Raises
    ------
    PrivateNameMissing
        If names are missing; the error lists all of them and each place that was tried.
    """
    missing: list[PrivateNameMissing] = []
    for name, private in expected().items():
        try:
            take(name)
        except PrivateNameMissing as error:
            if not private.optional:
                missing.append(error)
    if missing:
        tried = [place for error in missing for place in error.tried]
        raise PrivateNameMissing(", ".join(error.name for error in missing), tried)


def installed(package: str) -> str | None:
    """Return the version of an installed package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def stack() -> str | None:
    """Return the name of the installed tested stack, or None.

    The first three numbers of both versions must match. JAX moves private names in any release, but
    not between builds of the same release (0.12.0 and 0.12.0.1).
    """
    found = _release(installed("brainpy")), _release(installed("jax"))
    for name, brainpy, jax in TESTED:
        if found == (_release(brainpy), _release(jax)):
            return name
    return None


@functools.cache
def untested() -> str:
    """Return a warning if the installed versions are not a tested stack; issue it once."""
    if stack() is not None:
        return ""
    tested = ", ".join(f"{brainpy} on {jax}" for _, brainpy, jax in TESTED)
    sentence = (
        f"BrainPy {installed('brainpy')} on JAX {installed('jax')} was not tested with the probe, "
        f"but has all private names that it needs. Tested: {tested}."
    )
    warn(sentence)
    return sentence


def _release(version: str | None) -> tuple[str, ...]:
    return tuple(re.findall(r"\d+", version or "")[:3])
