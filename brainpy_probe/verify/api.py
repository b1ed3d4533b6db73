"""Verifies a capture folder: runs all checks in order."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec

import msgspec

from brainpy_probe.errors import DamagedCapture
from brainpy_probe.format.folder import MANIFEST
from brainpy_probe.format.reading import find_run, manifest_digest_matches, read_manifest
from brainpy_probe.reader.capture import Capture
from brainpy_probe.reader.worker import Limits
from brainpy_probe.verify import iree
from brainpy_probe.verify.checks import Check, failed, noted, passed
from brainpy_probe.verify.process import verify_here, verify_in_worker

__all__ = ["Verification", "verify"]

_LIMITS = Limits()


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """The result of verifying a capture.

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
    path: str | os.PathLike[str],
    *,
    with_iree: bool = False,
    limits: Limits | None = _LIMITS,
    on_check: Callable[[Check], None] = lambda _: None,
) -> Verification:
    """Verify a capture from its files alone. This needs jaxlib, but neither BrainPy nor JAX.

    Parameters
    ----------
    path : str or path
        A folder ``run-...``, its ``manifest.json``, or a folder of captures, of which the newest is
        verified.
    with_iree : bool
        Also compile each program with IREE, run it and compare its results.
    limits : Limits or None
        Limits of time and memory for each program and each module. Files are read, and programs
        run, in a worker process, so that a program that ends its process is reported as a failed
        check. With None, this process is used, which a damaged program may end; this saves the
        second that starting a worker takes.
    on_check : callable
        Called with each check when it is made, for progress.

    Returns
    -------
    Verification
        The checks. A manifest that can't be read is a failed check.

    Raises
    ------
    FileNotFoundError
        If there is no capture.
    ProbeError
        If IREE is requested but not installed.
    """
    if with_iree:
        iree.require()
    try:
        folder, manifest = read_manifest(find_run(path), check_digest=False)
    except DamagedCapture as error:
        checks = [failed("manifest", "can be read", str(error))]
        return Verification(path=str(path), passed=False, checks=tuple(checks))
    checks = []
    for check in _checks(Capture(folder, manifest), with_iree, limits):
        on_check(check)
        checks.append(check)
    good = all(check.outcome != "failed" for check in checks)
    return Verification(path=str(folder), passed=good, checks=tuple(checks))


def _checks(capture: Capture, with_iree: bool, limits: Limits | None) -> Iterator[Check]:
    """Yield the checks of the manifest, then the checks of the files and programs."""
    manifest = capture.manifest
    reason = (
        f"{MANIFEST} has format version {manifest.version}, and all its files are in the folder"
    )
    yield passed("manifest", "can be read", reason)
    if manifest_digest_matches(capture.path):
        yield passed("manifest", "digest", "it is as it was written")
    else:
        yield failed("manifest", "digest", f"{MANIFEST} was changed after it was written")
    if not manifest.complete:
        reason = "the capture did not end; it contains only the calls that ended before"
        yield noted("manifest", "complete", reason)
    if limits is None:
        yield from _summarise(verify_here(capture, with_iree=with_iree))
    else:
        yield from _summarise(verify_in_worker(capture, limits, with_iree=with_iree))
    if find_spec("jaxlib") is None:
        version = manifest.environment.jaxlib
        reason = f"jaxlib is not installed: pip install jaxlib=={version}"
        yield failed("programs", "parse and replay", reason)


def _summarise(checks: Iterator[Check]) -> Iterator[Check]:
    """Replace the passed checks of modules by their number: a script may compile hundreds."""
    good: Counter[str] = Counter()
    for check in checks:
        if check.outcome == "passed" and check.subject.startswith("module"):
            good[check.name] += 1
            continue
        if not check.subject.startswith("module"):
            yield from _take_counts(good)
        yield check
    yield from _take_counts(good)


def _take_counts(good: Counter[str]) -> Iterator[Check]:
    for name, count in good.items():
        yield passed("modules", name, f"of {count}")
    good.clear()
