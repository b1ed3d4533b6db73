"""Records of a captured program: its arguments and results, texts, kernels and fidelity."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from brainpy_probe.format.manifest.common_records import (
    BoundedFloat,
    BoundedInt,
    DeviceCount,
    Digest,
    ElementType,
    NonNegativeInt,
    Record,
    Shape,
    WrittenFile,
)
from brainpy_probe.format.manifest.cost_records import Measured
from brainpy_probe.format.manifest.definition_records import ModelDefinition
from brainpy_probe.format.manifest.part_records import Part

__all__ = [
    "GROUPS",
    "KIND_NAMES",
    "AbstractArray",
    "DialectCheck",
    "Fidelity",
    "KernelCall",
    "Placement",
    "PortableProgram",
    "ProgramKind",
    "ProgramRecord",
    "Role",
    "StepProgram",
    "TensorSpec",
    "label",
]

Role = Literal["token", "constant", "state", "input", "output", "monitor"]
# The group of a program's arguments or results to which each role belongs.
GROUPS: dict[Role, str] = {
    "token": "tokens",
    "constant": "constants",
    "state": "state",
    "input": "inputs",
    "output": "outputs",
    "monitor": "monitors",
}
# A whole run with its loop over time, one step of a run, or a whole function without such a loop.
ProgramKind = Literal["loop", "step", "function"]
KIND_NAMES: dict[ProgramKind, str] = {
    "loop": "the whole run",
    "step": "one step",
    "function": "a whole function",
}


def label(role: Role, name: str) -> str:
    """Return the name of an argument or result in a program's texts: ``state['E.V']``."""
    return f"{GROUPS[role]}[{name!r}]"


class TensorSpec(Record, frozen=True, kw_only=True):
    """One argument or result of a program, in the order of its ``main`` function.

    Attributes
    ----------
    name : str
        The name in the model tree (``E.V``), or the name of an input, output or monitor.
    role : str
        ``constant``, ``state``, ``input``, ``output``, ``monitor``, or ``token``, which orders
        side effects.
    shape : tuple of int
        The shape in the lowered program.
    dtype : str
        NumPy's name of the dtype in the lowered program.
    unit : str
        The unit of the value, such as ``mV``; empty if it has none.
    nbytes : int
        Size in bytes.
    key : str
        JAX's key type of a random state, such as ``key<fry>`` (Threefry); otherwise empty.
    digest : str
        XXH3-128 of the value in the program's first call, its bytes in C order. Empty if no digest
        was requested or the run did not provide the value.
    file : str
        Path of the file of the capture that holds this value; empty if none does. An array that an
        earlier program also took is stored once, in the file of that program.
    entry : str
        The name of the value in that file.
    axis : int or None
        The axis of the time steps in a result with one entry per step; otherwise None.
    records : str
        The name of the state whose value after each step such a result contains, if any.
    loop_path : str
        In the program of one step of a loop, the path of the loop's argument or result to which
        this one belongs; empty if both have the same path.
    loop_axis : int or None
        In the program of one step of a loop, the axis of that argument or result that has an entry
        for each step; None for constants and states.
    sharding : str
        How the value is distributed over the devices, as the texts write it: Shardy's
        ``<@mesh, [{"n"}]>`` from JAX 0.10 on, XLA's ``{devices=[4]<=[4]}`` before. Empty if the
        program does not specify it.
    parts : tuple of Part
        The parts that this process has of an array that spans processes, in place of the array.
    """

    name: str
    role: Role
    shape: Shape
    dtype: ElementType
    nbytes: NonNegativeInt
    unit: str = ""
    key: str = ""
    digest: Digest = ""
    file: str = ""
    entry: str = ""
    axis: NonNegativeInt | None = None
    records: str = ""
    loop_path: str = ""
    loop_axis: NonNegativeInt | None = None
    sharding: str = ""
    parts: tuple[Part, ...] = ()

    @property
    def path(self) -> str:
        """The name with its group as prefix, as in ``constants/E2E.comm.indices``."""
        return f"{GROUPS[self.role]}/{self.name}"


class DialectCheck(Record, frozen=True, kw_only=True):
    """Result of parsing a text back and, for MHLO, of converting it back to StableHLO.

    Attributes
    ----------
    parsed : bool
        Whether the text, parsed by MLIR's or XLA's own parser, prints as the same text.
    returns : bool or None
        MHLO only: whether it converts back to the StableHLO from which it was made.
    detail : str
        The first difference, if a check failed.
    """

    parsed: bool
    returns: bool | None = None
    detail: str = ""


class Placement(Record, frozen=True, kw_only=True):
    """The devices for which a program is lowered.

    Attributes
    ----------
    platform : str
        JAX's name of their kind: ``cpu``, ``cuda``, ``rocm``, ``tpu``. Empty if there is no text.
    partitions : int
        The number of devices over which the arrays of the program are distributed.
    replicas : int
        The number of copies of the program that run at the same time, as ``jax.pmap`` makes up to
        JAX 0.4.
    meshes : dict
        The axes of each mesh that a ``sharding`` names: ``{"mesh": '<["n"=4]>'}``.
    """

    platform: str = ""
    partitions: DeviceCount = 1
    replicas: DeviceCount = 1
    meshes: dict[str, str] = {}

    @property
    def on_cpu(self) -> bool:
        """Whether they are CPU devices."""
        return self.platform in ("", "cpu")

    @property
    def devices(self) -> int:
        """The number of devices."""
        return self.partitions * self.replicas

    def __str__(self) -> str:
        return self.platform if self.devices == 1 else f"{self.devices} {self.platform} devices"


class Fidelity(Record, frozen=True, kw_only=True):
    """How faithfully a program's texts represent what ran, and what they do not contain.

    Attributes
    ----------
    checks : dict
        The check of each text, by dialect (``vhlo`` for the portable bytecode).
    chlo : dict
        The CHLO operations that remain in a text, by dialect.
    custom_calls : dict
        Targets of custom calls whose code is not in the program. The value lists the constants
        that the call takes as operands.
    host_callbacks : tuple of str
        Targets of callbacks into Python. They can't run in another process.
    inlined_constants : tuple of str
        Constants larger than 1 KiB that are in the text instead of among the arguments.
    removed : tuple of str
        Parts of the run that are not in the program: ``progress bar``, ``BrainPy's own checks``,
        ``monitors handed to Python``. Without them XLA may round the rest differently.
    reasons : tuple of str
        Why XLA may compile the texts to code that rounds differently from the run's, apart from
        ``removed``: ``the run computed each operation by itself (jit=False)``.
    unused : tuple of str
        Arguments that the program does not read, by group and name, as ``inputs/indices``.
    notes : tuple of str
        Other limitations of this program.
    placement : Placement
        The devices for which the texts are written.
    """

    checks: dict[str, DialectCheck] = {}
    chlo: dict[str, tuple[str, ...]] = {}
    custom_calls: dict[str, tuple[str, ...]] = {}
    host_callbacks: tuple[str, ...] = ()
    inlined_constants: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    placement: Placement = Placement()

    @property
    def proved(self) -> bool:
        """Whether every text was parsed back, and MHLO converted back to its StableHLO."""
        return all(check.parsed and check.returns is not False for check in self.checks.values())


class PortableProgram(Record, frozen=True, kw_only=True):
    """The same program, lowered without the kernels that only BrainPy has.

    Attributes
    ----------
    fidelity : Fidelity
        The fidelity of its texts; ``custom_calls`` lists the kernels that could not be avoided.
    cost, native_cost : dict
        XLA's estimates for this program and for the one that ran, both before optimisation:
        ``flops`` and ``bytes accessed``, with the body of a loop counted once. For a custom call
        XLA counts only the operands and results.
    files : tuple of WrittenFile
        Its texts, one for each dialect, and its VHLO bytecode.
    """

    fidelity: Fidelity
    cost: dict[str, BoundedFloat] = {}
    native_cost: dict[str, BoundedFloat] = {}
    files: tuple[WrittenFile, ...] = ()


class AbstractArray(Record, frozen=True, kw_only=True):
    """An array as a parameter of a kernel: its shape and dtype, without values.

    Attributes
    ----------
    shape : tuple of int
        Its shape.
    dtype : str
        NumPy's name of its dtype.
    """

    shape: Shape
    dtype: ElementType


_Scalar: TypeAlias = bool | BoundedInt | float | str | None
# Two levels of sequences, each of bounded length: brackets in JSON take thirty times their size in
# memory, and brainevent (0.2.1, 0.3.0) has one level.
_Inner: TypeAlias = Annotated[tuple[_Scalar, ...], Meta(max_length=64)]
_Sequence: TypeAlias = Annotated[tuple[_Scalar | AbstractArray | _Inner, ...], Meta(max_length=256)]
Parameter: TypeAlias = _Scalar | AbstractArray | _Sequence


class KernelCall(Record, frozen=True, kw_only=True):
    """A call of a kernel that BrainPy registers with XLA when it lowers the call.

    Attributes
    ----------
    name : str
        The kernel's name in brainevent's registry.
    arguments : tuple
        Shape and dtype of each argument.
    parameters : dict
        The other parameters of the call by name.
    """

    name: str
    arguments: tuple[tuple[Shape, ElementType], ...]
    parameters: Annotated[dict[str, Parameter], Meta(max_length=64)]


class StepProgram(Record, frozen=True, kw_only=True):
    """One step of a loop: ``step(constants, state, inputs) -> {outputs, monitors, state}``.

    The inputs are one entry of each array that the loop scans. The states that are results are the
    states of the next step. A value that the user's function carries from step to step is a state.

    Attributes
    ----------
    fidelity : Fidelity
        The fidelity of its texts. If there are none, ``notes`` has the reason.
    fingerprint : str
        Equal for steps with the same computation, names, shapes and dtypes.
    arguments, results : tuple of TensorSpec
        Their ``loop_path`` and ``loop_axis`` relate them to those of the loop.
    steps : int
        The number of steps of the loop.
    reverse : bool
        Whether the loop begins with the last entry of its inputs.
    files : tuple of WrittenFile
        Its texts, one for each dialect, and its VHLO bytecode.
    portable : PortableProgram or None
        The step for compilers without BrainPy's kernels, if it was requested.
    kernels : tuple of KernelCall
        As in a :class:`ProgramRecord`.
    """

    fidelity: Fidelity
    fingerprint: str = ""
    arguments: tuple[TensorSpec, ...] = ()
    results: tuple[TensorSpec, ...] = ()
    steps: NonNegativeInt = 0
    reverse: bool = False
    files: tuple[WrittenFile, ...] = ()
    portable: PortableProgram | None = None
    kernels: tuple[KernelCall, ...] = ()


class ProgramRecord(Record, frozen=True, kw_only=True):
    """A distinct program: ``program(constants, state, inputs) -> {outputs, monitors, state}``.

    Attributes
    ----------
    name : str
        The class of the model, which is also the name of the module.
    kind : str
        ``loop`` for a whole run; ``step`` for one step of a runner whose loop is in Python;
        ``function`` for a jitted function, a condition or a loop of another kind.
    fingerprint : str
        Equal for programs with the same computation, names, shapes and dtypes.
    identity : str
        A digest of each result as an expression over the arguments. It depends neither on the
        process nor on the versions of BrainPy and JAX, if these lower the model to the same
        operations. Empty if the program could not be read.
    arguments, results : tuple of TensorSpec
        The arguments and results of ``main``, in order.
    fidelity : Fidelity
        What its texts contain.
    files : tuple of WrittenFile
        Its texts, one for each dialect, its VHLO bytecode, and its arrays.
    portable : PortableProgram or None
        The program for compilers without BrainPy's kernels, if it was requested.
    step : StepProgram or None
        One step of the program's loop, if it was requested.
    kernels : tuple of KernelCall
        Calls of kernels that brainevent can register again in another process.
    compiled_in : bool
        Whether the run had the constants in its compiled code, where this program takes arguments.
        XLA compiles a product with a constant differently from a product with an argument.
    components : dict
        The class of each component of the model, by its name in the model tree, the model first.
        Empty if the step was traced before the capture was opened.
    links : dict
        For each projection among the components, the names of the two components it connects.
    definition : ModelDefinition or None
        The equations, parameters and units of the components, as the model had them when the
        program was first captured. None if an earlier version wrote the capture.
    measured : Measured or None
        Run time of each component, if it was requested (``profile=True``).
    unmeasured : str
        Why the requested measurement failed; otherwise empty.
    """

    index: NonNegativeInt
    name: str
    kind: ProgramKind
    fingerprint: str
    identity: Digest = ""
    arguments: tuple[TensorSpec, ...]
    results: tuple[TensorSpec, ...]
    fidelity: Fidelity
    files: tuple[WrittenFile, ...]
    portable: PortableProgram | None = None
    step: StepProgram | None = None
    kernels: tuple[KernelCall, ...] = ()
    compiled_in: bool = False
    components: dict[str, str] = {}
    links: dict[str, tuple[str, str]] = {}
    definition: ModelDefinition | None = None
    measured: Measured | None = None
    unmeasured: str = ""
