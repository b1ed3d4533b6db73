"""Names that are taken from other libraries, wherever a version has them; knows no library."""

from __future__ import annotations

import contextlib
import functools
import importlib
from dataclasses import dataclass
from typing import Any, Literal

from brainpy_probe.errors import SeamMissing

__all__ = ["Seam", "take", "taken_from"]


@dataclass(frozen=True, eq=False)  # each is itself alone: looked up thousands of times
class Seam:
    """A name that the probe takes from another library.

    Parameters
    ----------
    what : str
        What it is, for error messages.
    places : tuple of str
        Where it may be, as ``module:attribute``, in the order in which they are tried.
    holds : str
        The versions for which this holds, and where that was seen.
    era : str
        ``brainstate`` or ``variables`` where only a BrainPy from 2.7 on, or only an earlier one,
        is to have it.
    members : tuple of str
        Attributes that it must have where it is found.
    optional : bool
        Whether a capture can do without it.
    """

    what: str
    places: tuple[str, ...]
    holds: str
    era: Literal["", "brainstate", "variables"] = ""
    members: tuple[str, ...] = ()
    optional: bool = False


@functools.cache
def take(seam: Seam) -> Any:
    """Return what a seam names, from the first place that has it.

    Raises
    ------
    SeamMissing
        With each place that was tried, if none has it.
    """
    tried = []
    for place in seam.places:
        try:
            found = _at(place)
            for member in seam.members:
                getattr(found, member)
        except (ImportError, AttributeError) as error:
            tried.append(f"{place.rstrip(':')} ({error})")
        else:
            return found
    raise SeamMissing(seam.what, tried)


def taken_from(seam: Seam) -> str:
    """Return the place from which :func:`take` takes a seam.

    Raises
    ------
    SeamMissing
        With each place that was tried, if none has it.
    """
    found = take(seam)
    for place in seam.places:
        with contextlib.suppress(ImportError, AttributeError):
            if _at(place) is found:
                return place.rstrip(":")
    raise SeamMissing(seam.what, seam.places)


def _at(place: str) -> Any:
    module, _, attribute = place.partition(":")
    found: Any = importlib.import_module(module)
    for part in filter(None, attribute.split(".")):
        found = getattr(found, part)
    return found
