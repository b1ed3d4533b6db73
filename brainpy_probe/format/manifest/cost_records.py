"""Records of the costs and the run times of a program's components."""

from __future__ import annotations

from brainpy_probe.characters import in_one_line
from brainpy_probe.format.manifest.common_records import NonNegativeInt, Record, Seconds
from brainpy_probe.showing import Shown

__all__ = ["ComponentCost", "ComponentTime", "Costs", "Count", "Measured"]


class Count(Record, frozen=True, kw_only=True):
    """XLA's counts for a part of a program.

    Attributes
    ----------
    ops : int
        Number of operations, without those that only name or group values (parameters, constants,
        tuples).
    flops, transcendentals : float
        Number of floating-point operations and of transcendental functions, one for each element.
    read, written : float
        Bytes of the operands and results of each op, as if no ops were fused.
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
        """Return all counts multiplied by a number."""
        return Count(
            ops=self.ops * number,
            flops=self.flops * number,
            transcendentals=self.transcendentals * number,
            read=self.read * number,
            written=self.written * number,
        )


class ComponentCost(Record, frozen=True, kw_only=True):
    """Cost of a component's own ops, without those of its parts.

    Attributes
    ----------
    component : str
        Its name in the model tree; a name in parentheses for ops without a component.
    parent : str
        The component that contains it; empty for the model.
    cls : str
        Its class.
    step, once : Count
        Cost of one step, and cost before and after all steps.
    state, constants : int
        Bytes of its own Variables and arrays.
    custom_calls : tuple of str
        Targets of its custom calls. XLA counts nothing inside of them.
    custom_bytes : int
        Bytes of the operands and results of its custom calls in one step; they are not part of
        ``read`` and ``written``.
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


class Costs(Shown, Record, frozen=True, kw_only=True):
    """Cost of each component of a program, counted by XLA before optimisation.

    Attributes
    ----------
    program : str
        The program's name.
    steps : int
        Number of steps that the program runs.
    components : tuple of ComponentCost
        The model first, then the ops without a component.
    once, step : Count
        Sums over the components. The whole run costs ``once`` plus ``steps`` times ``step``.
    xla : Count
        XLA's count for the whole program with the loop body counted once: ``once`` plus ``step``.
    notes : tuple of str
        Limitations of these counts.
    """

    program: str
    steps: int
    components: tuple[ComponentCost, ...]
    once: Count
    step: Count
    xla: Count
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Costs of {in_one_line(self.program)}: {len(self.components)} components>"

    @property
    def total(self) -> Count:
        """Cost of the whole run."""
        return self.once + self.step.times(self.steps)


class ComponentTime(Record, frozen=True, kw_only=True):
    """Run time of a component's own ops.

    Attributes
    ----------
    component : str
        Its name in the model tree; a name in parentheses for time without a component.
    seconds : float
        Time within the profiled part of the loop over time. Ops that run at the same time share
        that time equally.
    shared : float
        The part of ``seconds`` that is its share of fusions that also serve other components.
    calls : int
        How many times one of its ops ran.
    """

    component: str
    seconds: Seconds
    shared: Seconds = 0.0
    calls: NonNegativeInt = 0


# Captures of earlier versions have two more fields, ``what`` and ``device``, which were never
# set to anything but "copy" and "": they are ignored.
class Measured(Shown, Record, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """Run time of each component of a program, measured with XLA's profiler.

    The captured program was compiled again and run on the captured arrays.

    Attributes
    ----------
    steps : int
        Number of profiled steps.
    seconds, profiled : float
        Run time of the whole program without the profiler, and with it.
    loop : float
        Run time of the profiled part of the loop over time.
    components : tuple of ComponentTime
        The longest first. Their sum is ``loop``.
    notes : tuple of str
        Limitations of this measurement.
    """

    steps: NonNegativeInt
    seconds: Seconds
    profiled: Seconds
    loop: Seconds
    components: tuple[ComponentTime, ...]
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Measured: {self.steps} steps, {self.loop:.3g} s>"

    @property
    def mapped(self) -> float:
        """The share of the loop's time that is assigned to a component."""
        named = sum(time.seconds for time in self.components if not time.component.startswith("("))
        return named / self.loop if self.loop else 0.0
