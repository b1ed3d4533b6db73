"""Records of the difference between two captured programs."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from brainpy_probe.showing import Shown

__all__ = [
    "Aspect",
    "ChangedEquation",
    "ChangedUpdate",
    "ComponentChange",
    "CostChange",
    "Difference",
    "SignatureChange",
]

Aspect: TypeAlias = Literal["data", "constants", "shapes", "costs"]
Level: TypeAlias = Literal["operations", "constants", "shapes", "dtypes"]


class SignatureChange(msgspec.Struct, frozen=True, kw_only=True):
    """An argument or result that was added or removed, or has another shape or dtype.

    Attributes
    ----------
    kind : str
        ``added``, ``removed``, ``reshaped`` or ``retyped``.
    names : tuple of str
        Group and name of each value that changed in the same way, as ``state/E.V``.
    old, new : str
        Dtype and shape, as ``float32[32]``; empty for one that was added or removed.
    """

    kind: Literal["added", "removed", "reshaped", "retyped"]
    names: tuple[str, ...]
    old: str = ""
    new: str = ""


class ChangedEquation(msgspec.Struct, frozen=True, kw_only=True):
    """An equation whose own text differs: its expressions, empty where it does not exist.

    In ``marked_old`` and ``marked_new`` the differing parts are in ``[-...-]`` and ``{+...+}``.
    """

    name: str
    old: str
    new: str
    marked_old: str
    marked_new: str


class ChangedUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """Results whose expressions over the arguments changed for the same reason.

    Attributes
    ----------
    results : tuple of str
        Group and name of each, as ``state/E.V``.
    levels : tuple of str
        ``operations``; or, if the operations are equal, which of ``constants``, ``shapes`` and
        ``dtypes`` differ.
    constants : tuple of (str, str)
        The constants that differ, if only constants do: the old and the new value.
    equations : tuple of ChangedEquation
        The equations that differ; empty if only shapes or dtypes do.
    """

    results: tuple[str, ...]
    levels: tuple[Level, ...]
    constants: tuple[tuple[str, str], ...] = ()
    equations: tuple[ChangedEquation, ...] = ()


class ComponentChange(msgspec.Struct, frozen=True, kw_only=True):
    """A component that was added, removed or renamed, or has another class.

    ``old`` and ``new`` are names for a renamed component, otherwise classes.
    """

    kind: Literal["added", "removed", "renamed", "class"]
    name: str
    old: str = ""
    new: str = ""


class CostChange(msgspec.Struct, frozen=True, kw_only=True):
    """A component whose operations cost more or less in each step, by XLA's count."""

    component: str
    old_flops: float
    new_flops: float
    old_bytes: int
    new_bytes: int


class Difference(Shown, msgspec.Struct, frozen=True, kw_only=True):
    """The changes from one captured program to another.

    Attributes
    ----------
    old, new : str
        The capture folders.
    same : bool
        Whether nothing changed in signature, updates, components and the constants' data, apart
        from the aspects in ``ignored``.
    same_program : bool
        Whether signature and updates are equal.
    old_identity, new_identity : str
        The identities of the programs.
    ignored : tuple of str
        The aspects that do not decide ``same``.
    signature : tuple of SignatureChange
        Arguments and results that changed.
    updates : tuple of ChangedUpdate
        Results whose expressions changed.
    compared : int
        The number of results that both programs have.
    components : tuple of ComponentChange
        Components that changed.
    data : tuple of str
        The constants whose values changed, or their shapes.
    costs : tuple of CostChange
        Components that cost more or less. They do not decide ``same``.
    modules : tuple of (int, float)
        Number of modules and their seconds of compilation, old and new.
    environment : dict
        The differences between the environments: old and new, by name.
    notes : tuple of str
        Aspects that could not be compared, and differences that do not decide ``same``.
    """

    old: str
    new: str
    same: bool
    same_program: bool
    old_identity: str
    new_identity: str
    ignored: tuple[Aspect, ...] = ()
    signature: tuple[SignatureChange, ...] = ()
    updates: tuple[ChangedUpdate, ...] = ()
    compared: int = 0
    components: tuple[ComponentChange, ...] = ()
    data: tuple[str, ...] = ()
    costs: tuple[CostChange, ...] = ()
    modules: tuple[tuple[int, float], ...] = ()
    environment: dict[str, tuple[str, str]] = {}
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        changed = sum(len(update.results) for update in self.updates)
        kind = "same program" if self.same_program else "another program"
        return f"<Difference: {kind}, {changed} of {self.compared} results changed>"

    def __str__(self) -> str:
        from brainpy_probe.analysis.difference.page import page

        return page(self)
