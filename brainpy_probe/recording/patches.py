"""Puts wrapt wrappers in and takes them out exactly; knows no library that it patches."""

from __future__ import annotations

import copy
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import MethodType
from typing import Any

import wrapt

from brainpy_probe.recording.identity_dict import IdentityDict

__all__ = ["LEDGER", "Ledger", "Patch", "unwrapped"]

Handler = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]
_ABSENT = object()
# Generic classes from wrapt 2 on, and not before: no version has both to say what they wrap.
_FunctionWrapper: Any = wrapt.FunctionWrapper
_BoundFunctionWrapper: Any = wrapt.BoundFunctionWrapper


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


class _Copied:
    """How a wrapper is pickled and copied: as what it wraps is, which is what the user named."""

    __wrapped__: Any

    def __reduce_ex__(self, protocol: Any) -> Any:
        original, wrapper = self.__wrapped__, _installed_wrapper(self)
        if isinstance(original, MethodType):
            return original.__reduce_ex__(protocol)
        owner, name = wrapper._self_place
        if sys.modules.get(original.__module__) is owner and vars(owner).get(name) is wrapper:
            return name  # a global of this name, as pickle writes a function
        if isinstance(owner, type):
            return getattr, (owner, name)
        return copy.copy, (original,)  # a function's copy is the function itself

    def __reduce__(self) -> Any:
        return self.__reduce_ex__(2)

    def __copy__(self) -> Any:
        return copy.copy(self.__wrapped__)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return copy.deepcopy(self.__wrapped__, memo)


def unwrapped(value: Any) -> Any:
    """Return what stands beneath a wrapper of the probe's own; any other value as it is."""
    while type(value) in (_Wrapper, _BoundWrapper):
        value = value.__wrapped__
    return value


def _installed_wrapper(wrapper: Any) -> Any:
    """Return the wrapper that was installed, given it or what it gave to an instance or a class."""
    return wrapper if isinstance(wrapper, _Wrapper) else wrapper._self_parent


class _BoundWrapper(_Copied, _BoundFunctionWrapper):  # type: ignore[misc]
    """What an instance or a class finds where a wrapper is installed."""


class _Wrapper(_Copied, _FunctionWrapper):  # type: ignore[misc]
    """A wrapper that stands in for an attribute."""

    __bound_function_wrapper__ = _BoundWrapper

    def __init__(self, wrapped: Any, patch: Patch) -> None:
        super().__init__(wrapped, patch.handler)
        self._self_place = patch.owner, patch.name


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
    numba : object or None
        What listens to numba, which is told once for the process.
    is_listening : bool
        Whether the listener of JAX's durations is registered, which happens once per process.
    noted : IdentityDict
        What the wrappers have noted of a runner; forgotten when nobody watches any more.
    steps : IdentityDict
        What the steps of a runner were traced into that BrainPy does not trace; likewise.
    """

    users: tuple[Any, ...] = ()
    is_listening: bool = False
    numba: Any = None
    noted: IdentityDict[Any] = field(default_factory=IdentityDict)
    steps: IdentityDict[Any] = field(default_factory=IdentityDict)
    _installed: list[_Installed] = field(default_factory=list)
    _covered: list[_Installed] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def enter(self, user: Any, patches: list[Patch]) -> None:
        """Add a user, and put in what is not in yet of the patches, all of them or none."""
        with self._lock:
            if not self.users:
                self._take_out(0)  # what an interrupt has left there
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
                self._take_out(before)
                raise

    def leave(self, user: Any) -> None:
        """Take a user out, and after the last one the patches."""
        with self._lock:
            self.users = tuple(one for one in self.users if one is not user)
            if not self.users:
                self._take_out(0)
                self.noted.clear()
                self.steps.clear()

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
        wrapper = _Wrapper(wrapped, patch)
        # Noted before it is done: what an interrupt strikes between is taken out all the same.
        self._installed.append(_Installed(patch, original, wrapper))
        setattr(patch.owner, patch.name, wrapper)

    def _take_out(self, left: int) -> None:
        """Take patches out, the last one first, until so many are left."""
        while len(self._installed) > left:
            installed = self._installed[-1]
            if not installed.remove() and installed.is_beneath():
                self._covered.append(installed)
            self._installed.pop()


LEDGER = Ledger()
