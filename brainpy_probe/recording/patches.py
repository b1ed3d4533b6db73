"""Installs wrapt wrappers, and removes them so that every attribute is the original again."""

from __future__ import annotations

import copy
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import MethodType
from typing import Any

import wrapt

from brainpy_probe.recording.identity_dict import IdentityDict
from brainpy_probe.recording.recorder import Recorder
from brainpy_probe.recording.tracing.repeated_runs import RepeatedRuns

__all__ = ["ACTIVE", "ActiveRecorders", "Patch", "unwrapped"]

_Handler = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]
_ABSENT = object()
# These classes are generic only from wrapt 2 on, so they can't be parametrised.
_FunctionWrapper: Any = wrapt.FunctionWrapper
_BoundFunctionWrapper: Any = wrapt.BoundFunctionWrapper


@dataclass(frozen=True)
class Patch:
    """One attribute to wrap.

    Parameters
    ----------
    owner : class or module
        The object that has the attribute.
    name : str
        The attribute's name.
    handler : callable
        Called as ``handler(wrapped, instance, args, kwargs)`` instead of the attribute.
    """

    owner: Any
    name: str
    handler: _Handler


class _CopiesOriginal:
    """Pickles and copies a wrapper as the wrapped function, which is the object the user means."""

    __wrapped__: Any

    def __reduce_ex__(self, protocol: Any) -> Any:
        original, wrapper = self.__wrapped__, _installed_wrapper(self)
        if isinstance(original, MethodType):
            return original.__reduce_ex__(protocol)
        owner, name = wrapper._self_place
        if sys.modules.get(original.__module__) is owner and vars(owner).get(name) is wrapper:
            return name  # a global of this name, as pickle stores a function
        if isinstance(owner, type):
            return getattr, (owner, name)
        return copy.copy, (original,)  # the copy of a function is the function itself

    def __reduce__(self) -> Any:
        return self.__reduce_ex__(2)

    def __copy__(self) -> Any:
        return copy.copy(self.__wrapped__)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return copy.deepcopy(self.__wrapped__, memo)


def unwrapped(value: Any) -> Any:
    """Return the object that the probe's wrappers wrap; any other value is returned unchanged."""
    while type(value) in (_Wrapper, _BoundWrapper):
        value = value.__wrapped__
    return value


def _installed_wrapper(wrapper: Any) -> Any:
    """Return the installed wrapper, given this wrapper or one bound to an instance or class."""
    return wrapper if isinstance(wrapper, _Wrapper) else wrapper._self_parent


class _BoundWrapper(_CopiesOriginal, _BoundFunctionWrapper):  # type: ignore[misc]
    """A wrapper that is bound to an instance or a class."""


class _Wrapper(_CopiesOriginal, _FunctionWrapper):  # type: ignore[misc]
    """A wrapper that replaces an attribute."""

    __bound_function_wrapper__ = _BoundWrapper

    def __init__(self, wrapped: Any, patch: Patch) -> None:
        super().__init__(wrapped, patch.handler)
        self._self_place = patch.owner, patch.name


@dataclass
class _Installed:
    patch: Patch
    original: Any
    wrapper: Any

    def current(self) -> Any:
        return vars(self.patch.owner).get(self.patch.name, _ABSENT)

    def remove(self) -> bool:
        """Restore the original if the attribute is still this wrapper; return whether it was."""
        if self.current() is not self.wrapper:
            return False
        if self.original is _ABSENT:
            delattr(self.patch.owner, self.patch.name)
        else:
            setattr(self.patch.owner, self.patch.name, self.original)
        return True

    def is_wrapped(self) -> bool:
        """Return whether another wrapper is around this one."""
        return any(layer is self.wrapper for layer in _nested_wrappers(self.current()))


def _nested_wrappers(outermost: Any) -> Iterator[Any]:
    seen: set[int] = set()
    layer = outermost
    while layer is not _ABSENT and layer is not None and id(layer) not in seen:
        seen.add(id(layer))
        yield layer
        layer = getattr(layer, "__wrapped__", None)


@dataclass
class ActiveRecorders:
    """The recorders of the open captures, and the patches that they have installed.

    The first recorder installs the patches. A later one adds missing patches, such as those of a
    runner class that did not exist before. The last one removes them all. If another tool has
    wrapped a wrapper meanwhile, the wrapper stays, without effect, because the other tool's wrapper
    must not be removed. It is used again or removed later.

    Attributes
    ----------
    users : tuple of Recorder
        The recorders of the open captures.
    since : float
        The time (``time.perf_counter``) when the first of them opened.
    numba : object or None
        The listener of numba's events, which is registered once per process.
    is_listening : bool
        Whether the listener of JAX's durations is registered, which happens once per process.
    component_names : IdentityDict
        The component names of each runner's model; cleared when the last capture ends.
    steps : IdentityDict
        The traces of each runner's steps that BrainPy does not trace; cleared in the same way.
    repeated : RepeatedRuns
        The jitted functions whose later runs are only counted; cleared in the same way.
    """

    users: tuple[Recorder, ...] = ()
    since: float = 0.0
    is_listening: bool = False
    numba: Any = None
    component_names: IdentityDict[Any] = field(default_factory=IdentityDict)
    steps: IdentityDict[Any] = field(default_factory=IdentityDict)
    repeated: RepeatedRuns = field(default_factory=RepeatedRuns)
    _installed: list[_Installed] = field(default_factory=list)
    _covered: list[_Installed] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def enter(self, user: Recorder, patches: list[Patch]) -> None:
        """Add a recorder, and install all missing patches or none."""
        with self._lock:
            if not self.users:
                self._remove_from(0)  # patches that remained after an interrupt
                self.since = time.perf_counter()
            self.extend(patches)
            self.users = (*self.users, user)

    def extend(self, patches: list[Patch]) -> None:
        """Install all missing patches or none."""
        with self._lock:
            before = len(self._installed)
            try:
                for patch in patches:
                    if not self._has(patch):
                        self._install(patch)
            except BaseException:
                self._remove_from(before)
                raise

    def leave(self, user: Recorder) -> None:
        """Remove a recorder; after the last one, remove the patches."""
        with self._lock:
            for run in self.repeated.of(user):
                user.count_call(run, is_last=True)
            self.users = tuple(other for other in self.users if other is not user)
            if not self.users:
                self._remove_from(0)
                self.component_names.clear()
                self.steps.clear()
                self.repeated.clear()

    def _has(self, patch: Patch) -> bool:
        return any(
            installed.patch.owner is patch.owner and installed.patch.name == patch.name
            for installed in self._installed
        )

    def _install(self, patch: Patch) -> None:
        """Install a patch."""
        for covered in self._covered:
            if (covered.patch.owner, covered.patch.name) == (patch.owner, patch.name):
                self._covered.remove(covered)
                if covered.is_wrapped():
                    self._installed.append(covered)
                    return
                break
        original = vars(patch.owner).get(patch.name, _ABSENT)
        wrapped = getattr(patch.owner, patch.name) if original is _ABSENT else original
        wrapper = _Wrapper(wrapped, patch)
        # Recorded first, so that the patch is removed even after an interrupt in between.
        self._installed.append(_Installed(patch, original, wrapper))
        setattr(patch.owner, patch.name, wrapper)

    def _remove_from(self, number: int) -> None:
        """Remove the patches from a position on, the last one first."""
        while len(self._installed) > number:
            installed = self._installed[-1]
            if not installed.remove() and installed.is_wrapped():
                self._covered.append(installed)
            self._installed.pop()


ACTIVE = ActiveRecorders()
