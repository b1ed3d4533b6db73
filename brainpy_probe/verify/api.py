"""Proves a capture folder: what is checked, in which order; knows no parser and no compiler."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec

import msgspec

from brainpy_probe.errors import DamagedCapture
from brainpy_probe.format.folder import MANIFEST
from brainpy_probe.format.reading import manifest_digest_matches, read_manifest
from brainpy_probe.reader.capture import Capture
from brainpy_probe.reader.worker import Limits
from brainpy_probe.verify import iree
from brainpy_probe.verify.checks import Check, failed, noted, passed
from brainpy_probe.verify.process import prove_apart, prove_here

__all__ = ["Verification", "verify"]

_LIMITS = Limits()


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of a capture.

    Attributes
    ----------
    path : str
        The capture folder.
    passed : bool
        Whether no check failed.
    checks : tuple of Check
        Each check, in order.
    """

    path: str
    passed: bool
    checks: tuple[Check, ...]


def verify(
    path: str | os.PathLike[str], *, with_iree: bool = False, limits: Limits | None = _LIMITS
) -> Verification:
    """Prove a capture from its files alone; jaxlib is needed, BrainPy and JAX are not.

    Parameters
    ----------
    path : str or path
        A folder ``run-...``, or its ``manifest.json``.
    with_iree : bool
        Also compile each program with IREE, run it and compare.
    limits : Limits or None
        Files are read, and programs run, in a process of their own, so that what ends it is a
        finding; each program and each module has these seconds, and this memory. None: in this
        process, which a damaged program may end; it saves the second that a process takes to start.

    Returns
    -------
    Verification
        A capture whose manifest can't be read has failed.

    Raises
    ------
    FileNotFoundError
        If it is no capture folder.
    ProbeError
        If IREE is asked for and not installed.
    """
    if with_iree:
        iree.require()
    try:
        folder, manifest = read_manifest(path, check_digest=False)
    except DamagedCapture as error:
        checks = [failed("manifest", "can be read", str(error))]
        return Verification(path=str(path), passed=False, checks=tuple(checks))
    checks = list(_checks(Capture(folder, manifest), with_iree, limits))
    good = all(check.outcome != "failed" for check in checks)
    return Verification(path=str(folder), passed=good, checks=tuple(checks))


def _checks(capture: Capture, with_iree: bool, limits: Limits | None) -> Iterator[Check]:
    manifest = capture.manifest
    reason = f"{MANIFEST} is of version {manifest.version}, and names no file outside its folder"
    yield passed("manifest", "can be read", reason)
    if manifest_digest_matches(capture.path):
        yield passed("manifest", "digest", "it says what it said when it was written")
    else:
        yield failed("manifest", "digest", f"{MANIFEST} is not the one that was written")
    if not manifest.complete:
        yield noted("manifest", "complete", "the capture did not end; what had ended is here")
    if limits is None:
        yield from _in_short(prove_here(capture, with_iree=with_iree))
    else:
        yield from _in_short(prove_apart(capture, limits, with_iree=with_iree))
    if find_spec("jaxlib") is None:
        version = manifest.environment.jaxlib
        reason = f"jaxlib is not here: pip install jaxlib=={version}"
        yield failed("programs", "parse and replay", reason)


def _in_short(checks: Iterator[Check]) -> Iterator[Check]:
    """Count the checks of modules that passed: a script may well compile hundreds."""
    good: Counter[str] = Counter()
    for check in checks:
        if check.outcome == "passed" and check.subject.startswith("module"):
            good[check.name] += 1
            continue
        if not check.subject.startswith("module"):
            yield from _counted(good)
        yield check
    yield from _counted(good)


def _counted(good: Counter[str]) -> Iterator[Check]:
    for name, count in good.items():
        yield passed("modules", name, f"of {count}")
    good.clear()
