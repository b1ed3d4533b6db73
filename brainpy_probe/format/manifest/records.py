"""The manifest of a capture, and its records of calls and compiled modules.

The records are frozen msgspec structs; ``manifest.json`` is their JSON encoding.
"""

from __future__ import annotations

from typing import Literal

from brainpy_probe.format.manifest.common_records import (
    BoundedFloat,
    BoundedInt,
    Digest,
    Failure,
    NonNegativeInt,
    Record,
    Seconds,
    Timing,
    WrittenFile,
)
from brainpy_probe.format.manifest.environment_records import Environment
from brainpy_probe.format.manifest.program_records import ProgramRecord
from brainpy_probe.settings import Settings

__all__ = [
    "FORMAT",
    "VERSION",
    "Addition",
    "CallCount",
    "CallKind",
    "CallRecord",
    "LostModule",
    "Manifest",
    "ModuleFacts",
    "ModuleRecord",
    "Origin",
    "Reason",
    "Uncaptured",
]

FORMAT = "brainpy-probe/capture"
VERSION = 1

CallKind = Literal["predict", "loop", "cond", "jit", "fit"]
Origin = Literal["compiled", "cache"]
Reason = Literal["first", "same", "backend", "shape", "dtype", "values", "code"]


class CallCount(Record, frozen=True, kw_only=True):
    """How often the compiled function of a call has run so far.

    Attributes
    ----------
    call : int
        The index of the call.
    count : int
        The number of runs, the first included.
    seconds : float
        The seconds of all runs, from the call of the function to its return.
    median : float
        The median of these seconds, exact to one percent.
    last_state : WrittenFile or None
        The file with the states after the last run, with ``data="full"``.
    """

    call: NonNegativeInt
    count: NonNegativeInt
    seconds: BoundedFloat
    median: BoundedFloat
    last_state: WrittenFile | None = None


class Uncaptured(Record, frozen=True, kw_only=True):
    """A kind of run that has no call, and how often it ran, or which functions were compiled.

    Attributes
    ----------
    idiom : str
        What ran: ``gradient outside of a jitted function``.
    count : int
        How often it ran, or the number of the user's functions that were compiled.
    functions : tuple of str
        The names of these functions, at most 20; empty if runs were counted.
    """

    idiom: str
    count: NonNegativeInt
    functions: tuple[str, ...] = ()


class CallRecord(Record, frozen=True, kw_only=True):
    """One outermost run of a program.

    Attributes
    ----------
    model : str
        The class of the model.
    thread : str
        The name of the thread that made the run.
    started : str
        When it began, in UTC, as in ISO 8601.
    runner : str
        The class of the runner or trainer; empty if the run was made without one.
    kind : str
        ``predict`` for a runner's predict; ``loop``, ``cond`` or ``jit`` for a run without a
        runner; ``fit`` for a training step.
    name : str
        The name of the user's function, if the run was made without a runner.
    jit : bool
        Whether BrainPy compiled the run.
    steps : int or None
        Number of time steps; None if the call failed before it computed them.
    i0 : int
        The index of the first step.
    dt : float
        Milliseconds of model time in a step.
    program : int or None
        The index of the program, or None if the call has none.
    digests : dict
        XXH3-128 of each argument of the run (``in/constants/E2E.comm.indices``) and of each result
        (``out/state/E.V``).
    notes : tuple of str
        Limitations of what was recorded.
    native : Timing
        Time that the call takes without the probe.
    numba : tuple of str
        The functions that numba compiled during the call.
    probe : Timing
        Time that the probe added, before and after.
    model_number : int
        The number of the model object within the capture: calls of the same object have the same
        number.
    lost_variables : tuple of str
        Variables that the model created while its step was traced. They have no value after the
        run.
    repeats : CallCount or None
        How often the compiled function ran, if it ran more than once.
    error : Failure or None
        The exception that the run raised.
    failure : Failure or None
        The failure of the probe itself.
    """

    index: NonNegativeInt
    runner: str
    model: str
    thread: str
    started: str
    i0: BoundedInt
    dt: BoundedFloat
    kind: CallKind = "predict"
    name: str = ""
    jit: bool = True
    steps: NonNegativeInt | None = None
    program: NonNegativeInt | None = None
    digests: dict[str, Digest] = {}
    notes: tuple[str, ...] = ()
    model_number: NonNegativeInt = 0
    lost_variables: tuple[str, ...] = ()
    native: Timing = Timing()
    numba: tuple[str, ...] = ()
    probe: Timing = Timing()
    repeats: CallCount | None = None
    error: Failure | None = None
    failure: Failure | None = None


class ModuleFacts(Record, frozen=True, kw_only=True):
    """The part of a module's record that depends on the module alone, not on its compilation.

    Attributes
    ----------
    name : str
        JAX's name for it (``jit_scan`` is BrainPy's loop).
    fingerprint : str
        XXH3-128 of its content without source locations.
    backend : str
        JAX's name of the platform for which it was compiled.
    arguments : tuple of str
        The types of its arguments.
    cost, memory : dict
        XLA's estimates: flops and bytes accessed; sizes in bytes.
    custom_calls : tuple of str
        Targets of custom calls.
    large_constants : int
        Total bytes of its constants larger than 1 KiB.
    notes : tuple of str
        Parts that could not be read, with the reason.
    """

    name: str
    fingerprint: str
    backend: str
    arguments: tuple[str, ...]
    cost: dict[str, BoundedFloat] = {}
    memory: dict[str, BoundedInt] = {}
    custom_calls: tuple[str, ...] = ()
    large_constants: NonNegativeInt = 0
    notes: tuple[str, ...] = ()


class ModuleRecord(ModuleFacts, frozen=True, kw_only=True):
    """A module that JAX compiled, or read from its persistent cache, while the capture was open.

    Attributes
    ----------
    call : int or None
        The predict call during which it was compiled; None if it was compiled outside of any call.
    thread : str
        The name of the thread that compiled it.
    origin : str
        ``compiled``, or ``cache`` if it came from JAX's persistent cache.
    seconds : Timing
        ``trace`` and ``lower`` before the compilation, and ``compile``; for a cache hit ``compile``
        is the time to read the cache.
    argument_names : tuple of str
        The names of its arguments if they are known, otherwise empty.
    after : int or None
        The module with which it was compared to find the reason: the same module compiled before,
        or the last one with its name and model class.
    reason : str
        Why it was compiled: ``first`` time, ``same`` program again, or what differs from the last
        module of its name: ``backend``, ``shape``, ``dtype``, ``values``, ``code``.
    why : str
        The reason as a sentence.
    place : str
        The line of the user's code that led to the compilation, as ``script.py:42``: the innermost
        one outside of site-packages. Empty if there was none in the thread.
    function : str
        The function of that line.
    cache_minimum : float or None
        How many seconds a compilation had to take for JAX's persistent cache to keep it; None if
        the cache was not in use.
    files : tuple of WrittenFile
        Its bytecode, its texts and XLA's dumps. The same module compiled again has the files of the
        first one.
    """

    index: NonNegativeInt
    call: NonNegativeInt | None
    thread: str
    origin: Origin
    seconds: Timing
    argument_names: tuple[str, ...] = ()
    after: NonNegativeInt | None = None
    reason: Reason
    why: str
    place: str = ""
    function: str = ""
    cache_minimum: Seconds | None = None
    files: tuple[WrittenFile, ...] = ()


class LostModule(Record, frozen=True, kw_only=True):
    """A module that was compiled while the capture was open but could not be recorded.

    Attributes
    ----------
    name : str
        JAX's name for it.
    call : int or None
        The predict call during which it was compiled; None if it was compiled outside of any call.
    thread : str
        The name of the thread that compiled it.
    failure : Failure
        Why it could not be recorded.
    """

    index: NonNegativeInt
    name: str
    call: NonNegativeInt | None
    thread: str
    failure: Failure


class Addition(Record, frozen=True, kw_only=True):
    """The records that one call, or one module outside of a call, adds to an open capture.

    Attributes
    ----------
    calls, programs, modules, lost_modules : tuples of records
        New records. Their numbers continue those of the manifest.
    counts : tuple of CallCount
        New counts of earlier calls, each in place of the last one of its call.
    uncaptured : tuple of Uncaptured
        New counts of runs without a call, each in place of the last one of its idiom.
    digest : str
        In the file, the XXH3-128 of the line with this field empty; in memory, empty.
    """

    calls: tuple[CallRecord, ...] = ()
    programs: tuple[ProgramRecord, ...] = ()
    modules: tuple[ModuleRecord, ...] = ()
    lost_modules: tuple[LostModule, ...] = ()
    counts: tuple[CallCount, ...] = ()
    uncaptured: tuple[Uncaptured, ...] = ()
    digest: str = ""


class Manifest(Record, frozen=True, kw_only=True):
    """The index of a capture folder, which names every other file.

    Attributes
    ----------
    format : str
        The name of the format.
    version : int
        The version of the format.
    created : str
        When the capture began, in UTC, as in ISO 8601.
    environment : Environment
        Where the capture was made.
    settings : Settings
        What the capture collects.
    complete : bool
        Whether the capture has ended. If not, later records are in the journal.
    calls, programs, modules, lost_modules : tuples of records
        The records, each at the position of its ``index``.
    uncaptured : tuple of Uncaptured
        Runs that have no call.
    digest : str
        In the file, the XXH3-128 of its bytes with this field empty; in memory, empty.
    """

    format: str = FORMAT
    version: NonNegativeInt = VERSION
    created: str
    environment: Environment
    settings: Settings
    complete: bool = False
    calls: tuple[CallRecord, ...] = ()
    programs: tuple[ProgramRecord, ...] = ()
    modules: tuple[ModuleRecord, ...] = ()
    lost_modules: tuple[LostModule, ...] = ()
    uncaptured: tuple[Uncaptured, ...] = ()
    digest: str = ""

    @property
    def devices(self) -> str:
        """The devices of the programs: ``cpu``, ``4 cpu devices``; else the process's default."""
        named = dict.fromkeys(str(program.fidelity.placement) for program in self.programs)
        return " and ".join(filter(None, named)) or self.environment.backend
