"""Puts wrapt wrappers in and takes them out exactly; knows no library that it patches."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import wrapt

__all__ = ["LEDGER", "Ledger", "Patch"]

Handler = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]
_ABSENT = object()


@dataclass(frozen=True)
class Patch:
    """One attribute to wrap.

    Parameters
    ----------
    owner : class or module
        Whose attribute it is.
    name : str
        The attribute's name.
    handler : callable
        Called as ``handler(wrapped, instance, args, kwargs)`` in the attribute's place.
    """

    owner: Any
    name: str
    handler: Handler


@dataclass
class _Installed:
    patch: Patch
    original: Any
    wrapper: Any

    def sits_at(self) -> Any:
        return vars(self.patch.owner).get(self.patch.name, _ABSENT)

    def remove(self) -> bool:
        """Put the original back if the attribute is still our wrapper; say whether it was."""
        if self.sits_at() is not self.wrapper:
            return False
        if self.original is _ABSENT:
            delattr(self.patch.owner, self.patch.name)
        else:
            setattr(self.patch.owner, self.patch.name, self.original)
        return True

    def is_beneath(self) -> bool:
        return any(layer is self.wrapper for layer in _layers(self.sits_at()))


def _layers(outermost: Any) -> Iterator[Any]:
    seen: set[int] = set()
    layer = outermost
    while layer is not _ABSENT and layer is not None and id(layer) not in seen:
        seen.add(id(layer))
        yield layer
        layer = getattr(layer, "__wrapped__", None)


@dataclass
class Ledger:
    """What is patched at present, and for whom.

    The first user puts the patches in, a later one what has come since (a runner's class that was
    not there yet), the last one takes them out. A wrapper that another tool
    has wrapped in the meantime stays where it is, idle, and is used again or removed later: what
    lies over it is not ours to take off.

    Attributes
    ----------
    users : tuple
        Who is watching.
    attending : bool
        Whether JAX was told to report durations, which is done once for the process.
    noted : WeakKeyDictionary
        What the wrappers have noted of a runner; forgotten when nobody watches any more.
    """

    users: tuple[Any, ...] = ()
    attending: bool = False
    noted: weakref.WeakKeyDictionary[Any, Any] = field(default_factory=weakref.WeakKeyDictionary)
    _installed: list[_Installed] = field(default_factory=list)
    _covered: list[_Installed] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def enter(self, user: Any, patches: list[Patch]) -> None:
        """Add a user, and put in what is not in yet of the patches, all of them or none."""
        with self._lock:
            self.extend(patches)
            self.users = (*self.users, user)

    def extend(self, patches: list[Patch]) -> None:
        """Put in what is not in yet of the patches, all of them or none."""
        with self._lock:
            before = len(self._installed)
            try:
                for patch in patches:
                    if not self._has(patch):
                        self._install(patch)
            except BaseException:
                self._remove(self._installed[before:])
                del self._installed[before:]
                raise

    def leave(self, user: Any) -> None:
        """Take a user out, and after the last one the patches."""
        with self._lock:
            self.users = tuple(one for one in self.users if one is not user)
            if not self.users:
                self._remove(self._installed)
                self._installed.clear()
                self.noted.clear()

    def _has(self, patch: Patch) -> bool:
        return any(
            one.patch.owner is patch.owner and one.patch.name == patch.name
            for one in self._installed
        )

    def _install(self, patch: Patch) -> None:
        for covered in self._covered:
            if (covered.patch.owner, covered.patch.name) == (patch.owner, patch.name):
                self._covered.remove(covered)
                if covered.is_beneath():
                    self._installed.append(covered)
                    return
                break
        original = vars(patch.owner).get(patch.name, _ABSENT)
        wrapped = getattr(patch.owner, patch.name) if original is _ABSENT else original
        wrapper = wrapt.FunctionWrapper(wrapped, patch.handler)
        setattr(patch.owner, patch.name, wrapper)
        self._installed.append(_Installed(patch, original, wrapper))

    def _remove(self, every: list[_Installed]) -> None:
        for installed in reversed(every):
            if not installed.remove() and installed.is_beneath():
                self._covered.append(installed)


LEDGER = Ledger()
