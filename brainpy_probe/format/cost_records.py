"""What the components of a program cost, as frozen records; knows no program."""

from __future__ import annotations

from typing import Literal

import msgspec

from brainpy_probe.format.fields import Number, Seconds

__all__ = ["ComponentCost", "ComponentTime", "Costs", "Count", "Measured"]


class _Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A frozen record whose every field is named."""


class Count(_Record, frozen=True, kw_only=True):
    """What XLA counts of a part of a program.

    Attributes
    ----------
    ops : int
        Operations; what only names or groups values (parameters, constants, tuples) is none.
    flops, transcendentals : float
        Floating-point operations, and transcendental functions, one for each element.
    read, written : float
        Bytes of operands and of results, each op for itself, as before any fusion.
    """

    ops: int = 0
    flops: float = 0.0
    transcendentals: float = 0.0
    read: float = 0.0
    written: float = 0.0

    def __add__(self, other: Count) -> Count:
        return Count(
            ops=self.ops + other.ops,
            flops=self.flops + other.flops,
            transcendentals=self.transcendentals + other.transcendentals,
            read=self.read + other.read,
            written=self.written + other.written,
        )

    def times(self, number: int) -> Count:
        """Return it so many times."""
        return Count(
            ops=self.ops * number,
            flops=self.flops * number,
            transcendentals=self.transcendentals * number,
            read=self.read * number,
            written=self.written * number,
        )


class ComponentCost(_Record, frozen=True, kw_only=True):
    """What a component's own ops cost, those of its parts left out.

    Attributes
    ----------
    component : str
        Its name in the model tree; in parentheses what is of no component.
    parent : str
        The component that it is a part of; empty at the top.
    cls : str
        Its class.
    step, once : Count
        In one step; before and after all steps.
    state, constants : int
        Bytes of its own Variables and arrays.
    custom_calls : tuple of str
        Code that is not in the program: XLA counts nothing inside.
    custom_bytes : int
        Bytes of the operands and results of these, in one step; they are not among ``read`` and
        ``written``.
    """

    component: str
    parent: str = ""
    cls: str = ""
    step: Count = Count()
    once: Count = Count()
    state: int = 0
    constants: int = 0
    custom_calls: tuple[str, ...] = ()
    custom_bytes: int = 0


class Costs(_Record, frozen=True, kw_only=True):
    """What each component of a program costs, by XLA's own count of its ops before it optimises.

    Attributes
    ----------
    program : str
        Its name.
    steps : int
        How many steps it runs.
    components : tuple of ComponentCost
        The model first, then what is of no component.
    once, step : Count
        Sums over the components. All of the run is ``once`` plus ``steps`` times ``step``.
    xla : Count
        XLA's count for the whole program, a loop's body once: ``once`` plus ``step``.
    notes : tuple of str
        What else a reader must know.
    """

    program: str
    steps: int
    components: tuple[ComponentCost, ...]
    once: Count
    step: Count
    xla: Count
    notes: tuple[str, ...] = ()

    @property
    def total(self) -> Count:
        """All of the run."""
        return self.once + self.step.times(self.steps)


class ComponentTime(_Record, frozen=True, kw_only=True):
    """How long a component's own ops ran.

    Attributes
    ----------
    component : str
        Its name in the model tree; in parentheses what is of no component.
    seconds : float
        In the loop over time, as far as it was profiled; what runs at once is shared out.
    shared : float
        What of that is its share of fusions that serve others as well.
    calls : int
        How many times an op of its own ran.
    """

    component: str
    seconds: Seconds
    shared: Seconds = 0.0
    calls: Number = 0


class Measured(_Record, frozen=True, kw_only=True):
    """How long each component of a program ran, by XLA's profiler.

    Attributes
    ----------
    what : str
        What was measured: ``copy``, the captured program, compiled anew and run on its arrays.
    steps : int
        How many steps were profiled.
    seconds, profiled : float
        How long the whole program ran without the profiler, and with it.
    loop : float
        How long the loop over time ran, as far as it was profiled.
    components : tuple of ComponentTime
        The longest first. They add up to ``loop``.
    device : str
        Where it ran.
    notes : tuple of str
        What else a reader must know.
    """

    what: Literal["copy"] = "copy"
    steps: Number
    seconds: Seconds
    profiled: Seconds
    loop: Seconds
    components: tuple[ComponentTime, ...]
    device: str = ""
    notes: tuple[str, ...] = ()

    @property
    def mapped(self) -> float:
        """The share of the loop's time that is a component's."""
        whose = sum(one.seconds for one in self.components if not one.component.startswith("("))
        return whose / self.loop if self.loop else 0.0
