"""The installed versions of BrainPy, brainstate and JAX, and whether the tests cover them."""

from __future__ import annotations

import functools
import importlib.metadata
import re
from typing import NamedTuple

from brainpy_probe.compat import (  # noqa: F401 - each module adds its names to the table
    bindings,
    brainpy_model,
    brainpy_runner,
    brainpy_transforms,
    jax_compiler,
    jax_tracing,
)
from brainpy_probe.compat.lookup import NAMES, PrivateName, take, uses_brainpy
from brainpy_probe.errors import PrivateNameMissing
from brainpy_probe.user_warnings import warn

__all__ = [
    "ECOSYSTEM",
    "NAMES",
    "PACKAGES",
    "TESTED",
    "TestedStack",
    "expected",
    "installed",
    "resolve",
    "stack",
    "untested",
]

# The packages whose versions a capture records.
PACKAGES = ("brainpy-probe", "brainpy", "brainstate", "brainevent", "jax", "jaxlib", "numpy")


class TestedStack(NamedTuple):
    """Versions on which the test suite passes. BrainPy before 2.7 has no brainstate."""

    name: str
    brainpy: str
    brainstate: str
    jax: str


TESTED = (
    TestedStack("2022", "2.3.8", "", "0.4.13"),
    TestedStack("2023", "2.4.6.post5", "", "0.4.23"),
    TestedStack("2024", "2.6.0", "", "0.4.30"),
    TestedStack("py311", "2.8.2", "0.5.4", "0.10.2"),
    TestedStack("latest", "2.9.0", "0.6.0", "0.12.0.1"),
)

# Packages that build on brainstate, and their versions in the stack "ecosystem", which is "latest"
# with these. A capture records which of them are installed.
ECOSYSTEM = {
    "brainpy-state": "0.2.0",
    "braintools": "0.4.0",
    "braincell": "0.2.0",
    "brainmass": "0.1.1",
    "braintrace": "0.2.8",
    "brainspikes": "0.2.0",
    "saiunit": "0.6.0",
}


def expected() -> dict[str, PrivateName]:
    """Return the private names that the installed BrainPy should have; all names without BrainPy.

    A script that uses brainstate alone needs none of BrainPy's names.
    """
    try:
        era = "brainstate" if brainpy_model.on_brainstate() else "variables"
    except PrivateNameMissing:
        return NAMES
    return {
        name: private
        for name, private in NAMES.items()
        if private.era in ("", era) and (uses_brainpy() or not private.is_brainpys)
    }


def resolve() -> None:
    """Look up every private name that a capture uses, so that a run finds none missing.

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

    The first three numbers of the versions of BrainPy and JAX must match; without BrainPy those of
    brainstate and JAX. JAX moves private names in any release, but not between builds of the same
    release (0.12.0 and 0.12.0.1).
    """
    found = _release(_model_library()[1]), _release(installed("jax"))
    for tested in TESTED:
        if found == (_release(_of_model_library(tested)), _release(tested.jax)):
            return tested.name
    return None


def _model_library() -> tuple[str, str | None]:
    """Return name and version of the library with which models are built: BrainPy or brainstate."""
    version = installed("brainpy")
    return ("BrainPy", version) if version else ("brainstate", installed("brainstate"))


def _of_model_library(tested: TestedStack) -> str:
    return tested.brainpy if installed("brainpy") else tested.brainstate


@functools.cache
def untested() -> str:
    """Return a warning if the installed versions are untested, else ""; issue the warning once."""
    if stack() is not None:
        return ""
    known = ", ".join(
        f"{base} on {tested.jax}" for tested in TESTED if (base := _of_model_library(tested))
    )
    library, version = _model_library()
    sentence = (
        f"{library} {version} on JAX {installed('jax')} was not tested with the probe, "
        f"but has all private names that it needs. Tested: {known}."
    )
    warn(sentence)
    return sentence


def _release(version: str | None) -> tuple[str, ...]:
    return tuple(re.findall(r"\d+", version or "")[:3])
