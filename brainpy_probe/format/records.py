"""What a capture consists of: frozen, typed, and all that crosses a module's border.

Knows neither BrainPy nor JAX, nor where a capture lies on disk.
"""

from __future__ import annotations

import traceback as tracebacks
from typing import Any, Literal

import msgspec

from brainpy_probe.format.cost_records import Measured
from brainpy_probe.format.fields import (
    Digest,
    ElementType,
    FileKind,
    Number,
    Real,
    Seconds,
    Shape,
    Whole,
)
from brainpy_probe.settings import Settings

__all__ = [
    "FORMAT",
    "GROUPS",
    "VERSION",
    "Addition",
    "CallRecord",
    "DialectCheck",
    "Environment",
    "Failure",
    "Fidelity",
    "KernelCall",
    "LostModule",
    "Manifest",
    "ModuleRecord",
    "Origin",
    "PortableForm",
    "ProgramKind",
    "ProgramRecord",
    "Reason",
    "Role",
    "TensorSpec",
    "Timing",
    "WrittenFile",
    "label",
]

FORMAT = "brainpy-probe/capture"
VERSION = 1

Role = Literal["token", "constant", "state", "input", "output", "monitor"]
# The groups in which a program takes its arguments and gives its results.
GROUPS: dict[Role, str] = {
    "token": "tokens",
    "constant": "constants",
    "state": "state",
    "input": "inputs",
    "output": "outputs",
    "monitor": "monitors",
}
ProgramKind = Literal["loop", "step"]
Origin = Literal["compiled", "cache"]
Reason = Literal["first", "same", "backend", "shape", "dtype", "values", "code"]


class _Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A frozen record whose every field is named."""


class Timing(_Record, frozen=True, kw_only=True):
    """Seconds by phase, none of them counted twice; None for what was not measured.

    Attributes
    ----------
    trace, lower, compile : float or None
        Seconds in which Python became a jaxpr, a jaxpr became StableHLO, and XLA compiled.
    numba : float or None
        Seconds in which numba compiled a kernel, before the run or when XLA first called it.
    execute : float or None
        What is left of ``wall``: running the program, and BrainPy's own Python around it.
    wall : float or None
        Seconds from the call's begin to its end; of a module those of its phases.
    """

    trace: Seconds | None = 0.0
    lower: Seconds | None = 0.0
    compile: Seconds | None = 0.0
    numba: Seconds | None = 0.0
    execute: Seconds | None = 0.0
    wall: Seconds | None = 0.0


def label(role: Role, name: str) -> str:
    """Return how a program's texts name an argument or a result: ``state['E.V']``."""
    return f"{GROUPS[role]}[{name!r}]"


class TensorSpec(_Record, frozen=True, kw_only=True):
    """One argument or result of a program, in the order of its ``main`` function.

    Attributes
    ----------
    name : str
        The name in the model tree (``E.V``), or that of an input, output or monitor.
    role : str
        ``constant``, ``state``, ``input``, ``output``, ``monitor``; ``token`` orders effects.
    shape : tuple of int
        The shape in the lowered program.
    dtype : str
        NumPy's name of the element type in the lowered program.
    nbytes : int
        Size in bytes.
    key : str
        For a random state JAX's type of it, such as ``key<fry>`` (Threefry), else empty.
    digest : str
        XXH3-128 of the value in the program's first call, its bytes in C order; empty where that
        was not asked for, or the run did not give the value.
    file : str
        The file of the capture that holds this value, by its path; empty if none does. An array
        that an earlier program was given too stands in that program's file.
    entry : str
        The value's name in that file.
    """

    name: str
    role: Role
    shape: Shape
    dtype: ElementType
    nbytes: Number
    key: str = ""
    digest: Digest = ""
    file: str = ""
    entry: str = ""

    @property
    def path(self) -> str:
        """The name with its group before it, as in ``constants/E2E.comm.indices``."""
        return f"{GROUPS[self.role]}/{self.name}"


class WrittenFile(_Record, frozen=True, kw_only=True):
    """A file of the capture: its path relative to the folder, size in bytes, XXH3-128."""

    path: str
    kind: FileKind
    size: Number
    digest: Digest


class DialectCheck(_Record, frozen=True, kw_only=True):
    """How far one text was proved: parsed back, verified, and for MHLO taken back.

    Attributes
    ----------
    parsed : bool
        The text, parsed by MLIR's or XLA's own parser, prints as the same text.
    returns : bool or None
        MHLO only: legalised back, it is the StableHLO that it came from.
    detail : str
        What was found, where something is not as it should be.
    """

    parsed: bool
    returns: bool | None = None
    detail: str = ""


class Fidelity(_Record, frozen=True, kw_only=True):
    """How faithfully the texts stand for what ran, and what they can't say.

    Attributes
    ----------
    checks : dict
        The outcome for each text, by dialect (``vhlo`` for the portable bytecode).
    chlo : dict
        The chlo operations that remain in a text, by dialect.
    custom_calls : dict
        Targets of custom calls whose code is not in the program, each with the names of the
        constants that flow into it.
    host_callbacks : tuple of str
        Targets of calls back into Python: they can't be run elsewhere.
    inlined_constants : tuple of str
        Constants above 1 KiB that stand in the text instead of among the arguments.
    removed : tuple of str
        What the run had and the program has not: ``progress bar``, ``BrainPy's own checks``,
        ``monitors handed to Python``. XLA may compile what is left to other bits than the run's.
    unused : tuple of str
        Arguments that the program has and does not read, by group and name, as
        ``inputs/indices``.
    notes : tuple of str
        What else a reader must know.
    """

    checks: dict[str, DialectCheck] = {}
    chlo: dict[str, tuple[str, ...]] = {}
    custom_calls: dict[str, tuple[str, ...]] = {}
    host_callbacks: tuple[str, ...] = ()
    inlined_constants: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def proved(self) -> bool:
        """Whether every text was parsed back, and MHLO led back to its StableHLO."""
        return all(check.parsed and check.returns is not False for check in self.checks.values())


class PortableForm(_Record, frozen=True, kw_only=True):
    """A program lowered once more without the kernels that only BrainPy has.

    Attributes
    ----------
    fidelity : Fidelity
        What is true of its texts; ``custom_calls`` has those that are left all the same.
    cost, native_cost : dict
        What XLA estimates for this form and for the one that ran, before it optimises either:
        ``flops`` and ``bytes accessed``, a loop's body counted once. XLA counts nothing within a
        custom call but its operands and results.
    files : tuple of WrittenFile
        Its texts, one for each dialect, and its VHLO bytecode.
    """

    fidelity: Fidelity
    cost: dict[str, Real] = {}
    native_cost: dict[str, Real] = {}
    files: tuple[WrittenFile, ...] = ()


class KernelCall(_Record, frozen=True, kw_only=True):
    """A call of a kernel that BrainPy registers with XLA when it lowers it.

    Attributes
    ----------
    name : str
        The kernel's name in brainevent's registry.
    arguments : tuple
        Shape and dtype of each argument.
    parameters : dict
        What else it is lowered with; an abstract array as ``{"shape": ..., "dtype": ...}``.
    """

    name: str
    arguments: tuple[tuple[Shape, ElementType], ...]
    parameters: dict[str, Any]


class ProgramRecord(_Record, frozen=True, kw_only=True):
    """A distinct program: ``program(constants, state, inputs) -> {outputs, monitors, state}``.

    Attributes
    ----------
    kind : str
        ``loop``: the whole run. ``step``: one step, for a runner whose loop is Python's.
    fingerprint : str
        Equal for programs whose computation, names, shapes and dtypes are equal.
    portable : PortableForm or None
        The form for compilers that do not know BrainPy's kernels, where it was asked for.
    kernels : tuple of KernelCall
        Calls of kernels that brainevent can register again in another process.
    compiled_in : bool
        Whether the run had the constants in its compiled code, where this program has arguments:
        XLA compiles a product with a constant otherwise than one with an argument.
    components : dict
        The class of each component of the model, by its name in the model tree; the model first.
        Empty where the step was traced before the capture was opened.
    links : dict
        Of each projection among the components the names of the two that it connects.
    measured : Measured or None
        How long each component ran, where that was asked for (``profile=True``).
    unmeasured : str
        Why that could not be measured, where it was asked for; else empty.
    """

    index: Number
    name: str
    kind: ProgramKind
    fingerprint: str
    arguments: tuple[TensorSpec, ...]
    results: tuple[TensorSpec, ...]
    fidelity: Fidelity
    files: tuple[WrittenFile, ...]
    portable: PortableForm | None = None
    kernels: tuple[KernelCall, ...] = ()
    compiled_in: bool = False
    components: dict[str, str] = {}
    links: dict[str, tuple[str, str]] = {}
    measured: Measured | None = None
    unmeasured: str = ""


class Failure(_Record, frozen=True, kw_only=True):
    """An exception as it was: its kind, its message, its traceback."""

    kind: str
    message: str
    traceback: str

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Record an exception."""
        try:
            message = str(error)
        except Exception as second:  # the message of a user's own exception may fail
            message = f"its message can't be had: {type(second).__qualname__}"
        return cls(
            kind=type(error).__qualname__,
            message=message,
            traceback="".join(tracebacks.format_exception(error)),
        )


class CallRecord(_Record, frozen=True, kw_only=True):
    """One call of a runner's ``predict``.

    Attributes
    ----------
    jit : bool
        Whether BrainPy compiled what ran.
    steps : int or None
        Number of time steps, where the call got as far as to know it.
    i0 : int
        The index of the first step.
    dt : float
        Milliseconds of model time in a step.
    program : int or None
        The index of its program, or None if there is none.
    digests : dict
        XXH3-128 of each argument of the run (``in/constants/E2E.comm.indices``) and of each result
        (``out/state/E.V``).
    notes : tuple of str
        What a reader must know of this call.
    native : Timing
        The call as it runs without the probe.
    numba : tuple of str
        The functions that numba compiled while it ran.
    probe : Timing
        What the probe added, before and after.
    model_number : int
        Which of the capture's models ran: calls of one and the same object have one number.
    lost_variables : tuple of str
        Variables that the model made while its step was traced, whose value is none after the run.
    error : Failure or None
        What the run raised.
    failure : Failure or None
        What went wrong in the probe.
    """

    index: Number
    runner: str
    model: str
    thread: str
    started: str
    i0: Whole
    dt: Real
    jit: bool = True
    steps: Number | None = None
    program: Number | None = None
    digests: dict[str, Digest] = {}
    notes: tuple[str, ...] = ()
    model_number: Number = 0
    lost_variables: tuple[str, ...] = ()
    native: Timing = Timing()
    numba: tuple[str, ...] = ()
    probe: Timing = Timing()
    error: Failure | None = None
    failure: Failure | None = None


class ModuleRecord(_Record, frozen=True, kw_only=True):
    """A module that JAX compiled, or took from its persistent cache, while the capture was open.

    Attributes
    ----------
    name : str
        JAX's name for it (``jit_scan`` is BrainPy's loop).
    fingerprint : str
        XXH3-128 of its content, source locations left out.
    call : int or None
        The predict call that it was compiled for; None for one compiled outside of any.
    origin : str
        ``compiled``, or ``cache`` if it came from JAX's persistent cache.
    seconds : Timing
        ``trace`` and ``lower`` before it; ``compile``, which for a cache hit is reading it.
    arguments : tuple of str
        The types of its arguments.
    argument_names : tuple of str
        Their names where they are known, else empty.
    after : int or None
        The module with which it is compared for the reason: the same one before, or the last one
        of its name and model's class.
    reason : str
        Why it was compiled: ``first``, ``same`` program again, or what differs from the last
        module of its name: ``backend``, ``shape``, ``dtype``, ``values``, ``code``.
    why : str
        The reason in a sentence.
    cost, memory : dict
        What XLA estimates: flops, bytes accessed; sizes in bytes.
    custom_calls : tuple of str
        Targets of custom calls.
    large_constants : int
        Bytes of constants above 1 KiB that stand in the module.
    notes : tuple of str
        What could not be had, and why.
    """

    index: Number
    name: str
    fingerprint: str
    call: Number | None
    thread: str
    backend: str
    origin: Origin
    seconds: Timing
    arguments: tuple[str, ...]
    argument_names: tuple[str, ...] = ()
    after: Number | None = None
    reason: Reason
    why: str
    cost: dict[str, Real] = {}
    memory: dict[str, Whole] = {}
    custom_calls: tuple[str, ...] = ()
    large_constants: Number = 0
    notes: tuple[str, ...] = ()
    files: tuple[WrittenFile, ...] = ()


class LostModule(_Record, frozen=True, kw_only=True):
    """A module that was compiled while the capture was open, and that could not be recorded.

    Attributes
    ----------
    name : str
        JAX's name for it.
    call : int or None
        The predict call that it was compiled for; None for one compiled outside of any.
    failure : Failure
        Why it could not be recorded.
    """

    index: Number
    name: str
    call: Number | None
    thread: str
    failure: Failure


class Environment(_Record, frozen=True, kw_only=True):
    """What ran: interpreter, host, process, backend, and the versions of what matters.

    Attributes
    ----------
    rank : int or None
        JAX's index of the process, where several run one program together (jax.distributed).
    untested : str
        A sentence, where the probe was not tested with these versions; else empty.
    """

    host: str
    pid: Number
    python: str
    backend: str
    versions: dict[str, str]
    rank: Number | None = None
    untested: str = ""


class Addition(_Record, frozen=True, kw_only=True):
    """What one call, or one module outside of any, adds to the index of a capture that goes on.

    Attributes
    ----------
    digest : str
        In the file, the XXH3-128 of its line with this left empty; empty in memory.
    """

    calls: tuple[CallRecord, ...] = ()
    programs: tuple[ProgramRecord, ...] = ()
    modules: tuple[ModuleRecord, ...] = ()
    lost_modules: tuple[LostModule, ...] = ()
    digest: str = ""


class Manifest(_Record, frozen=True, kw_only=True):
    """The index of a capture folder; every other file is named in it.

    Attributes
    ----------
    digest : str
        In the file, the XXH3-128 of its bytes with this left empty; empty in memory.
    """

    format: str = FORMAT
    version: Number = VERSION
    created: str
    environment: Environment
    settings: Settings
    complete: bool = False
    calls: tuple[CallRecord, ...] = ()
    programs: tuple[ProgramRecord, ...] = ()
    modules: tuple[ModuleRecord, ...] = ()
    lost_modules: tuple[LostModule, ...] = ()
    digest: str = ""
