"""Private names of other libraries: one table, and how a name in it is found.

Each module of this folder adds its names to :data:`NAMES`, with the places where a name may be and
the versions in which it was seen there.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
from dataclasses import dataclass
from typing import Any, Literal

from brainpy_probe.errors import PrivateNameMissing

__all__ = ["NAMES", "PrivateName", "find", "take", "taken_from"]


@dataclass(frozen=True)
class PrivateName:
    """A name of another library, and where it may be.

    Parameters
    ----------
    what : str
        What it is, for error messages.
    places : tuple of str
        Where it may be, as ``module:attribute``, in the order in which they are tried.
    holds : str
        The versions for which this holds, and where that was seen.
    era : str
        ``brainstate`` if only BrainPy from 2.7 on has it, ``variables`` if only an earlier BrainPy
        has it, empty if both have it.
    members : tuple of str
        Attributes that it must have where it is found.
    optional : bool
        Whether a capture works without it.
    """

    what: str
    places: tuple[str, ...]
    holds: str
    era: Literal["", "brainstate", "variables"] = ""
    members: tuple[str, ...] = ()
    optional: bool = False


NAMES: dict[str, PrivateName] = {}


def take(name: str) -> Any:
    """Return the object that an entry of :data:`NAMES` describes.

    Raises
    ------
    PrivateNameMissing
        With each place that was tried, if the object is in none of them.
    """
    return find(NAMES[name])


@functools.cache
def find(private: PrivateName) -> Any:
    """Return the object that a private name describes, from the first place that has it.

    Raises
    ------
    PrivateNameMissing
        With each place that was tried, if the object is in none of them.
    """
    tried = []
    for place in private.places:
        try:
            found = _at(place)
            for member in private.members:
                getattr(found, member)
        except (ImportError, AttributeError) as error:
            tried.append(f"{place.rstrip(':')} ({error})")
        else:
            return found
    raise PrivateNameMissing(private.what, tried)


def taken_from(name: str) -> str:
    """Return the place where :func:`take` finds a name.

    Raises
    ------
    PrivateNameMissing
        With each place that was tried, if the object is in none of them.
    """
    private, found = NAMES[name], take(name)
    for place in private.places:
        with contextlib.suppress(ImportError, AttributeError):
            if _at(place) is found:
                return place.rstrip(":")
    raise PrivateNameMissing(private.what, private.places)


def _at(place: str) -> Any:
    module, _, attribute = place.partition(":")
    found: Any = importlib.import_module(module)
    for part in filter(None, attribute.split(".")):
        found = getattr(found, part)
    return found
