"""The table of private names of other libraries, and the lookup of a name.

Each module of this folder adds its names to :data:`NAMES`, with the places where each name may be
and the versions in which it was seen there.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
from dataclasses import dataclass
from typing import Any, Literal

from brainpy_probe.compat.import_hooks import is_imported
from brainpy_probe.errors import PrivateNameMissing

__all__ = ["NAMES", "PrivateName", "find", "place_of", "take", "uses_brainpy"]


@dataclass(frozen=True)
class PrivateName:
    """A name of another library, and the places in which to look for it.

    Parameters
    ----------
    what : str
        A description of the object, for error messages.
    places : tuple of str
        The places, as ``module:attribute``, in the order in which they are tried.
    holds : str
        The versions in which it was seen, and in which file.
    era : str
        ``brainstate`` if only BrainPy 2.7 and later has it, ``variables`` if only earlier versions
        have it, empty if both have it.
    members : tuple of str
        Attributes that the object must have.
    optional : bool
        Whether a capture works without it.
    """

    what: str
    places: tuple[str, ...]
    holds: str
    era: Literal["", "brainstate", "variables"] = ""
    members: tuple[str, ...] = ()
    optional: bool = False

    @property
    def is_brainpys(self) -> bool:
        """Whether all places are in BrainPy."""
        return all(_is_brainpys(place) for place in self.places)


NAMES: dict[str, PrivateName] = {}


def uses_brainpy() -> bool:
    """Return whether this process uses BrainPy, rather than brainstate alone.

    A script that has imported brainstate but not BrainPy uses brainstate alone, and the probe does
    not import BrainPy there. The result changes if the script imports BrainPy later.
    """
    return is_imported("brainpy") or not is_imported("brainstate")


def _is_brainpys(place: str) -> bool:
    return place.partition(":")[0].partition(".")[0] == "brainpy"


def take(name: str) -> Any:
    """Return the object that an entry of :data:`NAMES` describes.

    Raises
    ------
    PrivateNameMissing
        If none of the places has the object; the error lists each place.
    """
    return find(NAMES[name])


@functools.cache
def find(private: PrivateName) -> Any:
    """Return the object that a private name describes, from the first place that has it.

    Raises
    ------
    PrivateNameMissing
        If none of the places has the object; the error lists each place.
    """
    tried = []
    for place in private.places:
        try:
            found = _import(place)
            for member in private.members:
                getattr(found, member)
        except (ImportError, AttributeError) as error:
            tried.append(f"{place.rstrip(':')} ({error})")
        else:
            return found
    raise PrivateNameMissing(private.what, tried)


def place_of(name: str) -> str:
    """Return the place from which :func:`take` returns an object.

    Raises
    ------
    PrivateNameMissing
        If none of the places has the object; the error lists each place.
    """
    private, found = NAMES[name], take(name)
    for place in private.places:
        with contextlib.suppress(ImportError, AttributeError):
            if _import(place) is found:
                return place.rstrip(":")
    raise PrivateNameMissing(private.what, private.places)


def _import(place: str) -> Any:
    module, _, attribute = place.partition(":")
    if _is_brainpys(place) and not uses_brainpy():
        raise ImportError("the script has not imported brainpy")
    found: Any = importlib.import_module(module)
    for part in filter(None, attribute.split(".")):
        found = getattr(found, part)
    return found
