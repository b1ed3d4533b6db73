"""Lowers a closed program to StableHLO, and renders it in the requested dialects."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from brainpy_probe.compat import brainevent_kernels, jax_compiler, jax_tracing
from brainpy_probe.compat.types import ClosedJaxpr
from brainpy_probe.errors import CannotCapture, first_line
from brainpy_probe.format.manifest.program_records import GROUPS, KernelCall, label
from brainpy_probe.ir.dialects import Lowered, Rendering
from brainpy_probe.ir.executables import execution
from brainpy_probe.recording.model.pytrees import shape_and_dtype
from brainpy_probe.recording.program.closed import ClosedProgram
from brainpy_probe.recording.program.equations import jaxprs, undistributed
from brainpy_probe.recording.program.equations.evaluation import evaluate
from brainpy_probe.recording.program.equations.kernel_calls import kernel_calls
from brainpy_probe.settings import Settings

__all__ = ["LoweredProgram", "RenderedProgram", "render"]


@dataclass(frozen=True)
class LoweredProgram:
    """A program after lowering, with its texts.

    Attributes
    ----------
    lowered : Lowered
        The StableHLO module.
    jaxpr : ClosedJaxpr or None
        The jaxpr that was lowered; None if JAX does not provide it.
    cost : dict
        XLA's estimate of flops and bytes; empty if ``portable`` was not requested.
    renderings : dict
        The text for each dialect.
    problems : dict
        The error for each dialect that has no text.
    kernels : tuple of KernelCall
        The calls of BrainPy's own kernels.
    unused : tuple of str
        The arguments that the program does not read, by group and name.
    """

    lowered: Lowered
    jaxpr: ClosedJaxpr | None
    cost: dict[str, float]
    renderings: dict[str, Rendering]
    problems: dict[str, Exception]
    kernels: tuple[KernelCall, ...]
    unused: tuple[str, ...]


@dataclass(frozen=True)
class RenderedProgram:
    """The native and the portable version of a program. Nothing is written to disk yet.

    Attributes
    ----------
    closed : ClosedProgram
        The program.
    native : LoweredProgram
        The version that ran.
    portable : LoweredProgram, Exception or None
        The version for other compilers, or the reason why there is none; None if it was not
        requested.
    step : RenderedProgram, Exception or None
        One step of the program's loop, or the reason why it can't be lowered; None if it was not
        requested, or if the step is not known separately.
    """

    closed: ClosedProgram
    native: LoweredProgram
    portable: LoweredProgram | Exception | None
    step: RenderedProgram | Exception | None = None

    @property
    def problem(self) -> Exception | None:
        """The first error among the requested texts."""
        portable = self.portable
        if isinstance(portable, LoweredProgram):
            portable = next(iter(portable.problems.values()), None)
        step = self.step.problem if isinstance(self.step, RenderedProgram) else self.step
        return next(iter(self.native.problems.values()), portable or step)


def render(closed: ClosedProgram, settings: Settings) -> RenderedProgram:
    """Lower a program and render it in the dialects of the settings, without writing files.

    Raises
    ------
    CannotCapture
        If there is no text of the program in any dialect.
    """
    function = _without_dead_code(closed)
    native = _lower(closed, settings, function)
    if not native.renderings:
        reasons = "; ".join(f"{k}: {first_line(error)}" for k, error in native.problems.items())
        raise CannotCapture("The program can't be written in any dialect.", f"{reasons}.")
    portable: LoweredProgram | Exception | None = None
    if settings.portable:
        try:
            portable_function = _for_one_device(function, native.jaxpr)
            portable = _lower(closed, settings, portable_function, portable=True)
        except Exception as error:
            portable = error
    step: RenderedProgram | Exception | None = None
    if settings.step and closed.one_step is not None:
        try:
            step = render(closed.one_step(), settings)
        except Exception as error:
            step = error
    return RenderedProgram(closed, native, portable, step)


@dataclass(frozen=True)
class _Function:
    """The function that is lowered for a closed program.

    Attributes
    ----------
    function : callable
        It takes the arguments of the closed program, and returns its results or a list of them.
    arguments : sequence
        The arguments with which it is lowered, in three dicts.
    unused : tuple of str
        The arguments that it does not read, by group and name.
    """

    function: Callable[..., Any]
    arguments: Sequence[Any]
    unused: tuple[str, ...]


def _lower(
    closed: ClosedProgram, settings: Settings, function: _Function, *, portable: bool = False
) -> LoweredProgram:
    """Lower a function, and render it in the dialects of the settings."""

    def fresh(*groups: Any) -> Any:  # JAX caches lowerings by function
        return function.function(*groups)

    # On other platforms JAX lowers some operations to calls and ops that only XLA knows there.
    with jax_tracing.without_mesh() if portable else contextlib.nullcontext():
        lowering, jaxpr = jax_compiler.lowered_with_jaxpr(
            jax.jit(fresh, keep_unused=True), function.arguments, "cpu" if portable else ""
        )
    lowered = Lowered(
        lowering.compiler_ir("stablehlo"),
        closed.name,
        [label(argument.role, argument.name) for argument in closed.arguments],
        [label(result.role, result.name) for result in closed.results],
        training=closed.training,
        platform=jax_compiler.platform_of(lowering),
        one_device=portable,
    )
    if portable:
        lowered.expand_chlo()
        lowered.make_portable()
    renderings: dict[str, Rendering] = {}
    problems: dict[str, Exception] = {}
    for dialect in settings.dialects:
        try:
            renderings[dialect] = lowered.render(dialect)
        except Exception as error:
            problems[dialect] = error
    bytecode = lowered.bytecode() if renderings else None
    if bytecode is not None:
        renderings["vhlo"] = bytecode
    cost = _estimated_cost(lowered) if settings.portable else {}
    kernels = () if portable or jaxpr is None else kernel_calls(jaxpr.eqns)
    return LoweredProgram(lowered, jaxpr, cost, renderings, problems, kernels, function.unused)


def _without_dead_code(closed: ClosedProgram) -> _Function:
    """Remove dead code, including values that a loop carries or reads without use.

    JAX does so before it lowers a jit, except with ``keep_unused=True``, which this module needs.
    If a loop kept dead operands, XLA would hoist and fuse the rest differently.
    """

    def fresh(*groups: Any) -> Any:  # JAX caches traces by function
        return closed.function(*groups)

    traced, results = jax.make_jaxpr(fresh, return_shape=True)(*closed.grouped())
    live, used = jax_tracing.without_dead_code(traced)
    structure: Any = jax.tree_util.tree_structure(results)

    def program(*groups: Any) -> Any:
        leaves = jax.tree_util.tree_leaves(groups)
        read = [leaf for leaf, is_used in zip(leaves, used, strict=True) if is_used]
        values = zip([*live.constvars, *live.invars], [*traced.consts, *read], strict=True)
        value_of = evaluate(live.eqns, values, {})
        return structure.unflatten([value_of(variable) for variable in live.outvars])

    unused = [
        f"{GROUPS[argument.role]}/{argument.name}"
        for argument, is_used in zip(closed.arguments, used, strict=True)
        if not is_used
    ]
    return _Function(program, closed.grouped(), tuple(unused))


def _for_one_device(function: _Function, jaxpr: ClosedJaxpr | None) -> _Function:
    """Replace parts that other compilers do not support by plain StableHLO.

    This replaces BrainPy's own kernels (an old BrainPy chooses them before the trace), and the
    bodies that a model computes on several devices. The new function returns a list of results.
    """
    if jaxpr is None:

        def fresh(*groups: Any) -> Any:
            return function.function(*groups)

        jaxpr = jax.make_jaxpr(fresh)(*function.arguments)
    eqns = jaxprs.map_equations(jaxpr.eqns, brainevent_kernels.plain_kernels())
    known = jaxpr

    def portable(*groups: Any) -> list[Any]:
        constants = zip(known.jaxpr.constvars, known.consts, strict=True)
        arguments = zip(known.jaxpr.invars, jax.tree_util.tree_leaves(groups), strict=True)
        value_of = evaluate(eqns, [*constants, *arguments], {}, rules=undistributed.RULES)
        return list(map(value_of, known.jaxpr.outvars))

    # The types must not have the devices of the values.
    types: list[Any] = [var.aval for var in known.jaxpr.invars]
    avals = [shape_and_dtype(one.shape, one.dtype) for one in types]
    structure: Any = jax.tree_util.tree_structure(function.arguments)
    return _Function(portable, structure.unflatten(avals), function.unused)


def _estimated_cost(lowered: Lowered) -> dict[str, float]:
    """Return XLA's estimate of flops and bytes, which counts a loop's body once."""
    try:
        counted = execution.cost_analysis(lowered.hlo_module)
    except Exception:  # the estimate is optional
        return {}
    return {name: counted[name] for name in ("flops", "bytes accessed") if name in counted}
