"""The only home of BrainPy's and JAX's version facts: each private name of theirs that is touched.

Knows what stands where in which version, and where that was seen; never what it is used for.
jaxlib's own names stand in ``xla/bindings.py``.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brainpy_probe import foreign
from brainpy_probe.errors import SeamMissing
from brainpy_probe.foreign import Seam
from brainpy_probe.xla import bindings

__all__ = [
    "CONTAINERS",
    "DELAYED",
    "DELAYS",
    "LAZY_CONTAINERS",
    "LOOP_MODULE",
    "MONITOR_TAKER",
    "SEAMS",
    "STEP",
    "STEP_METHODS",
    "STEP_PARTS",
    "TESTED",
    "TRACE_NOTES",
    "UPDATES",
    "resolve",
    "take",
    "taken_from",
]

SEAMS: dict[str, Seam] = {
    "runner": Seam(
        "BrainPy's DSRunner",
        ("brainpy:DSRunner",),
        "public but for the members; brainpy 2.3.8 to 2.9.0, whose module moved three times",
        members=(
            "predict",
            "_predict",
            "_step_func_predict",
            "_step_func_input",
            "_step_func_monitor",
            "_step_mon_on_cpu",
        ),
    ),
    "component": Seam(
        "BrainPy's DynamicalSystem",
        ("brainpy:DynamicalSystem",),
        "public; brainpy 2.3.8 to 2.9.0",
    ),
    "object": Seam(
        "BrainPy's BrainPyObject, whose names are its class and a counter",
        ("brainpy:BrainPyObject",),
        "public; brainpy 2.3.8 to 2.9.0",
    ),
    "variable": Seam(
        "BrainPy's Variable",
        ("brainpy.math:Variable",),
        "public; brainpy 2.3.8 to 2.9.0",
    ),
    "variable-view": Seam(
        "BrainPy's view of a Variable",
        ("brainpy.math:VariableView",),
        "public; brainpy 2.3.8 to 2.9.0",
    ),
    "state": Seam(
        "brainstate's State",
        ("brainstate:State",),
        "public; brainstate 0.5.4, 0.6.0",
        era="brainstate",
    ),
    "array": Seam("BrainPy's Array", ("brainpy.math:Array",), "public; brainpy 2.3.8 to 2.9.0"),
    "random-state": Seam(
        "the random state that BrainPy draws from",
        ("brainpy.math:random.DEFAULT",),
        "public; brainpy 2.3.8 to 2.9.0. From 2.7 on brainstate.random.DEFAULT is the same object",
    ),
    "share": Seam("bp.share", ("brainpy:share",), "public; brainpy 2.3.8 to 2.9.0"),
    "scan": Seam(
        "jax.lax.scan",
        ("jax.lax:scan",),
        "public; brainstate 0.5.4, 0.6.0: transform/_loop_collect_return.py calls it by attribute, "
        "brainpy 2.4.6, 2.6.0: _src/math/object_transform/controls.py likewise",
    ),
    "stateful-function": Seam(
        "brainstate's StatefulFunction",
        ("brainstate.transform:StatefulFunction",),
        "public; brainstate 0.5.4, 0.6.0: transform/_make_jaxpr.py. Every loop and every jit of "
        "BrainPy from 2.7 on makes its jaxpr in StatefulFunction.make_jaxpr",
        era="brainstate",
        members=(
            "make_jaxpr",
            "get_state_trace",
            "get_arg_cache_key",
            "get_state_trace_by_cache",
            "get_jaxpr_by_cache",
            "get_out_treedef_by_cache",
        ),
    ),
    "progress-bar": Seam(
        "brainstate's ProgressBar",
        ("brainstate.transform:ProgressBar",),
        "public; brainstate 0.5.4, 0.6.0: transform/_progress_bar.py",
        era="brainstate",
        members=("init",),
    ),
    "environment": Seam(
        "the store behind bp.share",
        ("brainstate:environ",),
        "public; brainpy 2.8.2, 2.9.0: brainpy/context.py saves t, i and dt there",
        era="brainstate",
        members=("all", "set", "pop"),
    ),
    "environment-scope": Seam(
        "the scope in which bp.share saves",
        ("brainpy.math.defaults:env",),
        "brainpy 2.8.2, 2.9.0: brainpy/context.py",
        era="brainstate",
    ),
    "jit-transform": Seam(
        "the class of bm.jit's functions",
        ("brainpy._src.math.object_transform.jit:JITTransform",),
        "brainpy 2.3.8, 2.4.6, 2.6.0: _src/math/object_transform/jit.py",
        era="variables",
    ),
    "scan-primitive": Seam(
        "JAX's scan primitive",
        ("jax._src.lax.control_flow.loops:scan_p",),
        "jax 0.4.13, 0.4.23, 0.4.30: its bind is an attribute of the object",
        era="variables",
        members=("bind",),
    ),
    "closed-jaxpr": Seam(
        "JAX's class of closed jaxprs",
        ("jax.extend.core:ClosedJaxpr", "jax.core:ClosedJaxpr"),
        "public; jax.extend.core in jax 0.4.30, 0.10.2, 0.12.0 (where it is Jaxpr itself); "
        "jax.core in 0.4.13 and 0.4.23, whose jax.extend.core is absent or lacks it",
    ),
    "jaxpr": Seam(
        "JAX's class of jaxprs",
        ("jax.extend.core:Jaxpr", "jax.core:Jaxpr"),
        "public; as closed-jaxpr",
    ),
    "dead-code": Seam(
        "JAX's removal of dead code from a jaxpr",
        ("jax._src.interpreters.partial_eval:dce_jaxpr",),
        "jax 0.4.13, 0.4.23, 0.4.30, 0.10.2, 0.12.0: it takes the open jaxpr, and gives what "
        "is left of it and which of its arguments. JAX applies it to what a jit lowers, unless "
        "that is to keep unused arguments",
    ),
    "literal": Seam(
        "JAX's class of literals",
        ("jax.extend.core:Literal", "jax.core:Literal"),
        "public; as closed-jaxpr",
    ),
    "source-info": Seam(
        "JAX's module of source lines and name stacks",
        ("jax.extend.source_info_util:", "jax._src.source_info_util:"),
        "public; jax.extend in jax 0.4.23, 0.4.30, 0.10.2, 0.12.0, jax._src in 0.4.13",
        members=("current_name_stack", "user_context", "register_exclusion"),
    ),
    "trace-state": Seam(
        "JAX's word on whether a trace is going on",
        ("jax._src.core:trace_state_clean",),
        "jax 0.4.13, 0.4.23, 0.4.30, 0.10.2, 0.12.0: _src/core.py",
    ),
    "trace-context": Seam(
        "JAX's settings of a thread that decide how it traces",
        ("jax._src.config:trace_context", "jax._src.config:config._trace_context"),
        "jax 0.4.30, 0.10.2, 0.12.0: _src/config.py; a method of its config in 0.4.13, 0.4.23",
    ),
    "compiler": Seam(
        "the module through which JAX compiles",
        ("jax._src.compiler:", "jax._src.dispatch:"),
        "jax 0.4.23, 0.4.30, 0.10.2, 0.12.0: _src/compiler.py; 0.4.13: _src/dispatch.py. "
        "compile_or_get_cached (called by attribute from _src/interpreters/pxla.py, on a cache hit "
        "too) has the parameters backend and computation, and below it stands "
        "backend_compile_and_load or backend_compile, with the parameter options",
        members=("compile_or_get_cached",),
    ),
    **bindings.SEAMS,
}


def belonging() -> dict[str, Seam]:
    """Return the seams that the installed BrainPy is to have; all of them if there is none."""
    try:
        era = "brainstate" if on_brainstate() else "variables"
    except SeamMissing:
        return SEAMS
    return {name: seam for name, seam in SEAMS.items() if seam.era in ("", era)}


def resolve() -> None:
    """Take all that a capture takes, so that nothing is missing once a run goes on.

    Raises
    ------
    SeamMissing
        With all that is missing, and each place that was tried.
    """
    missing: list[SeamMissing] = []
    for name, seam in belonging().items():
        try:
            take(name)
        except SeamMissing as error:
            if not seam.optional:
                missing.append(error)
    if missing:
        tried = [place for error in missing for place in error.tried]
        raise SeamMissing(", ".join(error.seam for error in missing), tried)


def take(name: str) -> Any:
    """Return what a seam names, as :func:`brainpy_probe.foreign.take` does."""
    return foreign.take(SEAMS[name])


def taken_from(name: str) -> str:
    """Return where it was taken from, as :func:`brainpy_probe.foreign.taken_from` does."""
    return foreign.taken_from(SEAMS[name])


# --- BrainPy, every version: DSRunner -----------------------------------------------------------


# The method to which a memory_efficient step hands its monitors (2.3.8 to 2.9.0: runners.py).
MONITOR_TAKER = "_step_mon_on_cpu"

# A runner's step, and where 2.3.8 keeps its compiled loops or steps, by the shared arguments (2.3.8
# to 2.9.0: runners.py; back_propagation.py for BPFF).
STEP = "_step_func_predict"
_COMPILED_LOOPS = "_f_predict_compiled"

# The methods that give the model its inputs in a step, and read its monitors (2.3.8:
# dyn/runners.py; 2.4.6 to 2.9.0: runners.py).
STEP_PARTS = ("_step_func_input", "_step_func_monitor")

# Where a component keeps the parts that it was given by name or by position: Containers from 2.4.6
# on (dynsys.py: DynSysGroup, Sequential; dyn/ions, dyn/neurons/hh.py), and every BrainPyObject
# (2.3.8 to 2.6.0: _src/math/object_transform/base.py, with a leading underscore from 2.8.2 on).
CONTAINERS = (
    "children", "implicit_nodes", "implicit_vars", "_implicit_nodes", "_implicit_vars",
)  # fmt: skip

# Where a component keeps what is updated before and after it (2.4.6, 2.6.0: _src/dynsys.py; 2.8.2,
# 2.9.0: dynsys.py), and what the key of a delay among these begins with (2.8.2, 2.9.0: delay.py;
# 2.4.6, 2.6.0: _src/delay.py), before what the delay is of: a name, or the id of a Variable.
UPDATES = ("before_updates", "after_updates", "_before_updates", "_after_updates")
DELAYS = ("_*_delay_of_", "_*_delay_*_")

# Where a delay keeps the Variable that it is of (VarDelay; 2.4.6 to 2.9.0, as above).
DELAYED = "target"

# What a Variable notes of the traces that it was part of (brainstate 0.5.4, 0.6.0: _state.py).
TRACE_NOTES = ("_been_writen",)

# Where a Variable keeps its value (2.3.8 to 2.9.0: ndarray.py; brainstate 0.5.4, 0.6.0: State).
VALUE = "_value"


@functools.cache
def on_brainstate() -> bool:
    """Whether BrainPy keeps its state in brainstate, as from 2.7 on.

    Read from its own Variable: brainstate may well be installed beside an older BrainPy.
    """
    return any(base.__module__.startswith("brainstate") for base in take("variable").__mro__)


@functools.cache
def state_class() -> Any:
    """Return the class of all that is state: brainstate's State, or before 2.7 the Variable."""
    return take("state" if on_brainstate() else "variable")


@functools.cache
def brainpy_folders() -> tuple[str, ...]:
    """Return the folders in which BrainPy's own code lies, and that of its foundation."""
    names = ("brainpy", "brainstate") if on_brainstate() else ("brainpy",)
    files = [importlib.import_module(name).__file__ or "" for name in names]
    return tuple(str(Path(file).parent) + os.sep for file in files)


def compiles_its_step(runner: Any) -> bool:
    """Whether a runner traces its loop or its step itself: not with ``jit=False``.

    Read from ``DSRunner._fun_predict``; JAX's own ``jax_disable_jit`` has the same effect. On
    2.3.8 ``predict`` sets that for its own duration.
    """
    import jax

    return bool(runner.jit["predict"]) and not jax.config.jax_disable_jit


_signature = functools.lru_cache(maxsize=256)(inspect.signature)


def predict_arguments(
    predict: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, tuple[Any, ...], Any]:
    """Return step indices, if any, the user's inputs and shared arguments of a ``_predict``.

    ``_predict(indices, *xs, shared_args=)`` from 2.4 on; ``_predict(xs=(times, indices, inputs),
    shared_args=)`` on 2.3.8.
    """
    function = getattr(predict, "__func__", None)
    if function is None:
        given = inspect.signature(predict).bind(*args, **kwargs).arguments
    else:
        given = _signature(function).bind(predict.__self__, *args, **kwargs).arguments
    shared = given.get("shared_args")
    if "indices" in given:
        return given["indices"], tuple(given.get("xs", ())), shared
    if isinstance(given.get("xs"), tuple) and len(given["xs"]) == 3:
        _, indices, inputs = given["xs"]
        return indices, (inputs,), shared
    return None, (), shared  # BPFF hands its inputs over as they are


def first_step(runner: Any, indices: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what a runner would hand to its first step: index and inputs, before 2.4 the time too.

    2.3.8: ``times = indices * dt + t0``, an entry of which goes to ``_step_func_predict``.
    """
    import jax
    import numpy as np

    first = jax.tree_util.tree_map(lambda x: np.asarray(x)[0], inputs)
    if _takes_times(runner):
        return np.asarray(indices[0] * runner.dt + runner.t0), indices[0], *first
    return (indices[0], *first)


def _takes_times(runner: Any) -> bool:
    return "t" in inspect.signature(runner._step_func_predict).parameters


def step_function(runner: Any, shared_args: Any) -> Any:
    """Return the function of one step, which takes what :func:`first_step` gives.

    ``step(i, *xs, shared_args=)`` from 2.4 on, ``step(shared_args, t, i, x)`` on 2.3.8.
    """
    step = runner._step_func_predict
    if _takes_times(runner):
        return functools.partial(step, {} if shared_args is None else shared_args)
    return functools.partial(step, shared_args=shared_args)


def is_kept_loop(runner: Any, function: Any) -> bool:
    """Whether a function is a loop or a step that a runner compiled and keeps (2.3.8 alone)."""
    return any(one is function for one in getattr(runner, _COMPILED_LOOPS, {}).values())


@functools.cache
def is_brainpys_own(runner_class: type) -> bool:
    """Whether a runner's class is one of BrainPy's: DSRunner, or a trainer."""
    return runner_class.__module__.partition(".")[0] == "brainpy"


def swaps_axes(runner: Any) -> bool:
    """Whether ``DSRunner._predict`` swaps the first two axes of each result after its loop.

    For a batching mode with ``data_first_axis="B"``, of results with two axes or more (2.3.8 to
    2.9.0: runners.py).
    """
    import brainpy.math as bm

    return runner.data_first_axis == "B" and isinstance(runner.target.mode, bm.BatchingMode)


def makes_its_results(runner: Any) -> bool:
    """Whether a runner's class has a method of its own for what lies between loop and results.

    ``_fun_predict`` from 2.4 on, ``_get_f_predict`` on 2.3.8 (runners.py).
    """
    return any(
        getattr(type(runner), name, None) is not getattr(take("runner"), name, None)
        for name in ("_fun_predict", "_get_f_predict")
    )


def held_monitors(runner: Any, given: Any) -> tuple[dict[str, Any], int | None]:
    """Return what a runner holds by the names of its monitors, and how many times of steps.

    Those are the monitors that it was asked for, and those that ``_predict`` gave, where an
    ``OfflineTrainer`` adds its own. ``mon["ts"]`` has the times, where ``predict`` sets it (2.3.8
    to 2.9.0: runners.py, offline.py).
    """
    added = given[1] if isinstance(given, tuple) and len(given) == 2 else None
    names = [*runner._monitors, *(added if isinstance(added, dict) else ())]
    held = {name: runner.mon[name] for name in names if name in runner.mon}
    return held, len(runner.mon["ts"]) if "ts" in runner.mon else None


def monitor_names(runner: Any) -> list[str]:
    """Return the names of a runner's monitors, in the order in which JAX flattens them."""
    return sorted(runner._monitors)


def iterated_inputs(runner: Any) -> list[list[Any]]:
    """Return the ``[Variable, iterator]`` entries from which each step takes one item."""
    inputs = runner._inputs
    if not isinstance(inputs, dict):
        return []
    return [entry for entries in inputs["iterated"].values() for entry in entries]


def shared_context() -> Callable[[], None]:
    """Return what puts everything in ``bp.share`` back as it is now.

    From 2.7 on brainstate's environment holds it; before, dicts of its own (2.3.8: dyn/context.py,
    2.4.6, 2.6.0: context.py).
    """
    kept = {
        name: (held, dict(held))
        for name in ("_arguments", "_category")
        if isinstance(held := getattr(take("share"), name, None), dict)
    }
    environment: dict[str, Any] = {}
    if on_brainstate():
        environment = dict(take("environment").all(env=take("environment-scope")))

    def restore() -> None:
        for held, before in kept.values():
            held.clear()
            held.update(before)
        if on_brainstate():
            store, scope = take("environment"), take("environment-scope")
            for name in set(store.all(env=scope)) - set(environment):
                store.pop(name, env=scope)
            store.set(**environment, env=scope)

    return restore


# The methods of a runner that make up its step.
STEP_METHODS = (STEP, *STEP_PARTS)

# What a component makes when it is first asked for, an empty container (2.4.6, 2.6.0:
# _src/dynsys.py; 2.8.2, 2.9.0: dynsys.py, math/object_transform/base.py).
LAZY_CONTAINERS = (
    "_current_inputs", "_delta_inputs", "_before_updates", "_after_updates", "_implicit_vars",
    "_implicit_nodes",
)  # fmt: skip

# What BrainPy is set to: attributes of brainpy.math.defaults from 2.4 on, of brainpy.math on 2.3.8.
_SETTINGS = (
    "mode", "membrane_scaling", "dt", "bool_", "int_", "float_", "complex_", "bp_object_as_pytree",
    "numpy_func_return",
)  # fmt: skip


def changed_by_runs(runner: Any) -> frozenset[str]:
    """Return the attributes of a runner that each run sets and BrainPy's own step never reads.

    2.3.8 moves ``t0`` on, too, and gives its step the time; from 2.4 on the step reads ``t0``
    (dyn/runners.py; runners.py).
    """
    return frozenset({"i0", "mon"} | ({"t0", "_t0"} if _takes_times(runner) else set()))


def step_settings(*, saved_by_step: bool) -> list[dict[str, Any]]:
    """Return what a step may read of BrainPy's settings and of ``bp.share``.

    ``saved_by_step`` leaves out what BrainPy's own step saves there before it does anything else:
    ``t``, ``i`` and ``dt`` (2.3.8 to 2.9.0: runners.py). ``get_dt``, which is public, reads the
    defaults from a module of its own from 2.4 on (2.4.6, 2.6.0: _src/math/environment.py; 2.8.2,
    2.9.0: math/environment.py, where ``dt`` stands in the environment that share saves to).
    """
    import brainpy.math as math

    public: Any = math
    holder = public.get_dt.__globals__.get("defaults", public)
    share = take("share")
    held: list[Any] = [getattr(share, name, None) for name in ("_arguments", "_category")]
    found = [dict(entries) for entries in held if isinstance(entries, dict)]
    settings = {name: getattr(holder, name, None) for name in _SETTINGS}
    if on_brainstate():
        environment = take("environment")
        found += [settings, environment.all(), environment.all(env=take("environment-scope"))]
        settings = {}
    names = ("t", "i", "dt") if saved_by_step else ()
    return [
        {name: value for name, value in entries.items() if name not in names} for entries in found
    ] + [settings]


# --- BrainPy from 2.7 on: brainstate ------------------------------------------------------------


def is_written(states: Any) -> list[bool]:
    """Return for each state of a trace whether the trace writes it.

    The attribute is spelled ``been_writen`` (brainstate 0.5.4, 0.6.0: _state.py).
    """
    return list(states.been_writen)


def plain_kernels() -> Callable[[Any], Any]:
    """Return what gives an equation that calls a kernel of BrainPy's the one of plain StableHLO.

    brainevent (0.2.1, 0.3.0: _op/main.py) takes the parameter ``backend`` of the equation before
    the user's choice, which is one for the process: its public ``set_backend`` would clear all of
    JAX's caches. ``available_backends`` is public. Before BrainPy 2.7 a kernel is chosen while the
    model is traced: nothing can be done here.
    """
    try:
        kernels: Any = importlib.import_module("brainevent").get_registry()
    except (ImportError, AttributeError):
        return lambda eqn: eqn
    import jax

    platform = jax.default_backend()

    def plain(eqn: Any) -> Any:
        kernel = kernels.get(eqn.primitive.name)
        if kernel is None or _PLAIN not in kernel.available_backends(platform):
            return eqn
        return eqn.replace(params={**eqn.params, "backend": _PLAIN})

    return plain


_PLAIN = "jax_raw"


def lowering_settings() -> tuple[object, ...]:
    """Return what decides how a jaxpr is lowered besides what stands in it.

    That is the platform; how random bits are made (``jax_threefry_partitionable``, public from
    0.4.13 to 0.12.0); and which backends brainevent's kernels have, as in :func:`plain_kernels`.
    """
    import jax

    config: Any = sys.modules.get("brainevent.config")
    chosen = getattr(config, "_global_backends", None)
    backends = sorted(dict(chosen).items()) if chosen else ()
    return jax.default_backend(), bool(jax.config.jax_threefry_partitionable), backends


def trace_settings() -> object:
    """Return the settings that decide how JAX traces and lowers in this thread, for comparison.

    Some hold in one thread alone, as contexts. ``trace_context`` of jax._src.config (0.4.30,
    0.10.2, 0.12.0), in 0.4.13 and 0.4.23 a method of its ``config``.
    """
    return take("trace-context")()


def kernel_names() -> frozenset[str]:
    """Return the names of brainevent's kernels, which are those of their primitives.

    brainevent 0.2.1, 0.3.0: ``get_registry`` is public; none where there is no brainevent.
    """
    try:
        return frozenset(importlib.import_module("brainevent").get_registry())
    except (ImportError, AttributeError):
        return frozenset()


def lowered_with_jaxpr(jitted: Any, arguments: Sequence[Any]) -> tuple[Any, Any]:
    """Lower a jitted function; return the lowering, and the jaxpr where JAX gives that too.

    ``trace``, of which ``lower`` is the rest, is public in 0.10.2 and 0.12.0, absent up to 0.4.30.
    """
    with _no_tracebacks():
        if not hasattr(jitted, "trace"):
            return jitted.lower(*arguments), None
        traced = jitted.trace(*arguments)
        return traced.lower(), traced.jaxpr


def _no_tracebacks() -> contextlib.AbstractContextManager[None]:
    """Have JAX leave the lines of files out of locations in this thread, in this block.

    ``traceback_in_locations_limit`` of jax._src.config is the thread's own form of the public
    ``jax_traceback_in_locations_limit`` (0.4.30, 0.10.2, 0.12.0). 0.4.13 and 0.4.23 have none, nor
    need it: they write one line of one file. Whatever there is, is left out later; this saves time.
    """
    limit = getattr(
        importlib.import_module("jax._src.config"), "traceback_in_locations_limit", None
    )
    return contextlib.nullcontext() if limit is None else limit(0)


def is_jitted(stateful: Any) -> bool:
    """Whether a StatefulFunction is that of a jitted function, which runs as it is traced.

    ``_get_jitted_fun`` names it so (brainstate 0.5.4, 0.6.0: transform/_jit.py); those of loops,
    conditions and gradients have other names.
    """
    return bool(stateful.name == "jit")


# JAX's name for the module of a scan outside of any trace (0.4.13 to 0.12.0).
LOOP_MODULE = "jit_scan"


def scanned_function(body: Any) -> Any:
    """Return the StatefulFunction that brainstate's loop hands to lax.scan, or None.

    ``wrap_single_fun`` closes over it as ``stateful_fun`` (brainstate 0.5.4, 0.6.0:
    transform/_util.py).
    """
    cell = _closure_cell(body, "stateful_fun")
    return None if cell is None else cell.cell_contents


def scan_arguments(
    f: Any,
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
    **others: Any,
) -> dict[str, Any]:
    """Return what a call of ``jax.lax.scan`` gives, by the names of its documented parameters.

    Called as that is, which itself is not asked: another tool may have laid a wrapper without a
    signature over it. jax 0.4.13 to 0.12.0.
    """
    return {"f": f, "init": init, "xs": xs, "length": length, "reverse": reverse, "unroll": unroll}


# --- BrainPy up to 2.6: Variables and object transformations ------------------------------------


def peek(array: Any) -> Any:
    """Return what an Array or a Variable of BrainPy's holds.

    ``.value`` would also tell a trace that a Variable was read, and refuses to give a tracer that
    a trace has left there (brainpy 2.3.8 to 2.9.0: ndarray.py).
    """
    return array._value


def put(array: Any, value: Any) -> None:
    """Have an Array or a Variable hold a value, unchecked."""
    if array._value is not value:
        array._value = value


def own_variables(things: Sequence[Any]) -> list[Any]:
    """Return the Variables among objects, each once; views write to the Variable behind them."""
    variable, view = take("variable"), take("variable-view")
    found = {
        id(one): one
        for one in (*things, take("random-state"))
        if isinstance(one, variable) and not isinstance(one, view)
    }
    return list(found.values())


def split_key(key: Any) -> tuple[Any, Any]:
    """Split a random state: what a ``bm.jit`` function takes, and what the state keeps.

    2.4.6, 2.6.0: ``RandomState.split_key`` in _src/math/random.py.
    """
    import jax

    keys = jax.random.split(key, 2)
    return keys[0], keys[1]


def splits_random_states() -> bool:
    """Whether ``bm.jit`` splits random states before it runs: from 2.4 on, not on 2.3.8."""
    return variable_stack() is not None


def variable_stack() -> Any:
    """Return the class in which transformations collect Variables; None before 2.4."""
    try:
        module = importlib.import_module("brainpy._src.math.object_transform.variables")
    except ImportError:
        return None
    return getattr(module, "VariableStack", None)


def compiles_each_run() -> bool:
    """Whether each run has a loop function of its own: from 2.4 on; 2.3.8 keeps a jitted one."""
    return on_brainstate() or variable_stack() is not None


def loop_variables(body: Any) -> dict[Any, Any] | None:
    """Return the Variables of a loop of BrainPy's by their keys in its carry.

    Given the function of its lax.scan: ``fun2scan`` closes over them as ``dyn_vars``, by id in a
    VariableStack on 2.4.6 and 2.6.0, in a list on 2.3.8 (for_loop in
    _src/math/object_transform/controls.py). None for any other function.
    """
    cell = _closure_cell(body, "dyn_vars")
    found = None if cell is None else cell.cell_contents
    if isinstance(found, list) and all(isinstance(one, take("variable")) for one in found):
        return dict(enumerate(found))
    stack = variable_stack()
    return dict(found) if stack is not None and isinstance(found, stack) else None


def jit_variables(transform: Any) -> dict[Any, Any]:
    """Return the Variables of a ``bm.jit`` function by their keys; none before its first call.

    ``_all_vars``, by name, on 2.3.8; ``_dyn_vars``, by id, on 2.4.6 and 2.6.0.
    """
    found = getattr(transform, "_all_vars", None)
    if found is None:
        found = getattr(transform, "_dyn_vars", None)
    return {} if found is None else dict(found)


def jit_function(transform: Any) -> Any:
    """Return the function that ``jax.jit`` made: ``_f`` on 2.3.8, ``_transform`` later."""
    return transform._transform if hasattr(transform, "_transform") else transform._f


def jit_target(transform: Any) -> Any:
    """Return what ``bm.jit`` was given: ``target`` on 2.3.8, ``fun`` later (jit.py)."""
    return transform.fun if hasattr(transform, "fun") else transform.target


def jit_module(transform: Any) -> str:
    """Return JAX's name for the module of a ``bm.jit`` function."""
    return f"jit_{jit_function(transform).__name__}"


def jit_results(leaves: list[Any], tree: Any) -> tuple[tuple[list[Any], Any], ...]:
    """Part what a ``bm.jit`` function returns into result and changed Variables, with their trees.

    ``(out, changes)`` on 2.3.8, ``(changes, out)`` on 2.4.6 and 2.6.0 (jit.py).
    """
    first, second = tree.children()
    parts = (leaves[: first.num_leaves], first), (leaves[first.num_leaves :], second)
    return parts[::-1] if splits_random_states() else parts


def step_arguments(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a step's or a loop's arguments flat: 2.3.8 hands a loop one tuple of three."""
    if len(args) == 1 and isinstance(args[0], tuple) and len(args[0]) == 3:
        return args[0]
    return args


@contextlib.contextmanager
def untraceable(transform: Any) -> Iterator[None]:
    """Have a ``bm.jit`` function raise if JAX were to trace it anew, instead of running the user's.

    What the traced function looks up is replaced: ``target`` on 2.3.8, ``fun`` on 2.4.6; on 2.6.0
    the closure's cell ``fun`` (all in _src/math/object_transform/jit.py).
    """

    def refuse(*_: Any, **__: Any) -> Any:
        raise SeamMissing("the trace of a bm.jit function", ["JAX's cache, which has lost it"])

    cell = _closure_cell(getattr(jit_function(transform), "__wrapped__", None), "fun")
    name = next((one for one in ("target", "fun") if one in vars(transform)), None)
    if cell is not None:
        original = cell.cell_contents
        cell.cell_contents = refuse
    elif name is not None:
        original = vars(transform)[name]
        vars(transform)[name] = refuse
    else:
        raise SeamMissing("the function of a bm.jit", ["attributes target, fun", "cell fun"])
    try:
        yield
    finally:
        if cell is not None:
            cell.cell_contents = original
        else:
            vars(transform)[name] = original


def _closure_cell(function: Any, name: str) -> Any:
    names = getattr(getattr(function, "__code__", None), "co_freevars", ())
    return function.__closure__[names.index(name)] if function and name in names else None


# --- JAX: arrays and their dtypes ---------------------------------------------------------------


def is_extended(dtype: Any) -> bool:
    """Whether a dtype is of JAX's own making, such as that of typed random keys.

    ``jax.dtypes.extended`` is public from 0.4.23 on; 0.4.13 calls such dtypes opaque
    (_src/dtypes.py).
    """
    import jax
    import jax.numpy as jnp

    if hasattr(jax.dtypes, "extended"):
        return bool(jnp.issubdtype(dtype, jax.dtypes.extended))
    from jax._src import dtypes

    opaque: Any = dtypes
    return bool(opaque.is_opaque_dtype(dtype))


def is_key(value: Any) -> bool:
    """Whether a value is a typed random key.

    ``jax.dtypes.prng_key`` is public from 0.4.23 on; 0.4.13 has no other opaque dtype.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np

    dtype = getattr(value, "dtype", None)
    if dtype is None or isinstance(dtype, np.dtype):
        return False
    if hasattr(jax.dtypes, "prng_key"):
        return bool(jnp.issubdtype(dtype, jax.dtypes.prng_key))
    return is_extended(dtype)


# --- JAX: traces and jaxprs ----------------------------------------------------------------------


@dataclass(frozen=True)
class JaxprClasses:
    """The classes of which jaxprs are made."""

    ClosedJaxpr: type[Any]
    Jaxpr: type[Any]
    Literal: type[Any]


def jaxpr_classes() -> JaxprClasses:
    """Return the classes of which jaxprs are made."""
    return JaxprClasses(take("closed-jaxpr"), take("jaxpr"), take("literal"))


def converted(array: Any) -> Any:
    """Return the array that JAX has made of a NumPy array for a trace, or makes of it now; or None.

    ``canonicalize_value`` of _src/dtypes.py (jax 0.10.2, 0.12.0) gives the same object for the same
    array as long as that object lives. Up to 0.4.30 there is none: a trace keeps the array itself.
    """
    convert = getattr(importlib.import_module("jax._src.dtypes"), "canonicalize_value", None)
    return None if convert is None else convert(array)


def without_dead_code(closed: Any) -> tuple[Any, list[bool]]:
    """Return the open jaxpr of what a closed one needs for its results and effects.

    Returns
    -------
    jaxpr
        It has the same constants.
    list of bool
        For each argument of the closed jaxpr, whether this one has it.
    """
    jaxpr = closed.jaxpr
    live, used = take("dead-code")(jaxpr, [True] * len(jaxpr.outvars))
    return live, list(used)


def is_listening(listener: Any) -> bool:
    """Whether a listener to durations is registered with jax.monitoring; true if none can tell.

    ``get_event_duration_listeners`` of _src/monitoring.py (jax 0.4.23, 0.4.30, 0.10.2, 0.12.0);
    0.4.13 has the list alone.
    """
    monitoring: Any = importlib.import_module("jax._src.monitoring")
    if hasattr(monitoring, "get_event_duration_listeners"):
        return listener in monitoring.get_event_duration_listeners()
    return listener in getattr(monitoring, "_event_duration_secs_listeners", [listener])


def numba_events() -> Any:
    """Return numba's module of events if numba is there; it is never imported for that.

    ``numba.core.event`` is public; numba 0.53 to 0.68.
    """
    return sys.modules.get("numba.core.event")


def trace_state_clean() -> bool:
    """Whether no trace is going on in this thread."""
    return bool(take("trace-state")())


def names_are_in_cache_keys() -> bool:
    """Whether the names of ops are part of the persistent cache's keys.

    They are not unless ``jax_compilation_cache_include_metadata_in_key`` is set, which is public
    from 0.4.13 to 0.12.0; else JAX strips them (_src/compilation_cache.py in 0.4.13,
    _src/cache_key.py later).
    """
    import jax

    return bool(getattr(jax.config, "jax_compilation_cache_include_metadata_in_key", False))


# --- JAX: equations of a jaxpr, as jax.core.eval_jaxpr treats them -----------------------------


def equation_settings(eqn: Any) -> tuple[Any, ...]:
    """Return the name stack and the settings under which an equation was made.

    Equations in a row that have the same can share one :func:`equation_context`; their source lines
    are then the first one's, which only an error would tell.
    """
    return eqn.source_info.name_stack, getattr(eqn, "ctx", None)


@contextlib.contextmanager
def equation_context(eqn: Any) -> Iterator[None]:
    """Restore the source line, the name stack and the settings under which an equation was made.

    ``eqn.ctx`` is there from 0.4.30 on, not in 0.4.23 (_src/core.py).
    """
    source_info_util = take("source-info")
    source = eqn.source_info
    stack = source_info_util.current_name_stack() + source.name_stack
    settings = eqn.ctx.manager if hasattr(eqn, "ctx") else contextlib.nullcontext()
    with source_info_util.user_context(source.traceback, name_stack=stack), settings:
        yield


def bind_equation(eqn: Any, operands: Sequence[Any]) -> list[Any]:
    """Apply an equation's primitive.

    ``get_bind_params`` gives ``(functions, params)`` on 0.4.13, 0.4.23 and 0.4.30, the parameters
    alone on 0.10.2 and 0.12.0 (_src/core.py).
    """
    given = eqn.primitive.get_bind_params(eqn.params)
    functions, params = given if isinstance(given, tuple) else ((), given)
    outs = eqn.primitive.bind(*functions, *operands, **params)
    return list(outs) if eqn.primitive.multiple_results else [outs]


def scan_operands(params: dict[str, Any]) -> tuple[int, int]:
    """Return how many of a scan equation's operands are constants, and how many are its carry.

    ``num_consts`` and ``num_carry`` from 0.4.13 to 0.10.2; in 0.12.0 ``ft_in`` holds the three
    groups (_src/lax/control_flow/loops.py).
    """
    if "num_consts" in params:
        return int(params["num_consts"]), int(params["num_carry"])
    constants, carry, _ = params["ft_in"].unpack()
    return len(list(constants)), len(list(carry))


def callback_of(eqn: Any) -> Any:
    """Return the Python callable that an equation calls back at run time, or None.

    host_callback wraps it (0.4.13 to 0.4.30: experimental/host_callback.py, ``callback_func``).
    """
    called = eqn.params.get("callback")
    called = getattr(called, "callback_func", called)
    return called if callable(called) else None


def gives_nothing(eqn: Any) -> bool:
    """Whether nothing reads what an equation gives.

    A tap of host_callback hands its operands through, into variables that are dropped (0.4.13 to
    0.4.30); today's callbacks have no results.
    """
    return all(type(var).__name__ == "DropVar" for var in eqn.outvars)


# --- JAX: the compiler --------------------------------------------------------------------------


def backend_compile_name() -> str:
    """Return the name of the function in which XLA compiles, below JAX's persistent cache.

    ``backend_compile`` on 0.4.13, 0.4.23, 0.4.30; ``backend_compile_and_load`` from 0.6.2 on (seen
    in 0.10.2, 0.12.0), where ``backend_compile`` still exists, unused.
    """
    names = ("backend_compile_and_load", "backend_compile")
    compiler = take("compiler")
    for name in names:
        if hasattr(compiler, name):
            return name
    raise SeamMissing("XLA's compile function", [f"{compiler.__name__}.{n}" for n in names])


def dump_settings(options: Any) -> dict[str, str | bool]:
    """Return what one compilation's options say of XLA's dumps, as far as they say anything.

    They start from ``XLA_FLAGS``. XLA's debug options have an attribute for each from 0.4.23 on;
    those of 0.4.13 have none, but print themselves, one option a line.
    """
    debug = options.executable_build_options.debug_options
    if hasattr(debug, "xla_dump_to"):
        names = [name for name in dir(debug) if name.startswith("xla_dump_")]
        return {name: getattr(debug, name) for name in names}
    found: dict[str, str | bool] = {}
    for name, value in re.findall(r"^(xla_dump_\w+): (.*)$", repr(debug), re.MULTILINE):
        if value in ("true", "false"):
            found[name] = value == "true"
        elif value.startswith('"'):
            # A C string literal, as protobuf's text format writes it; Python reads it as bytes.
            found[name] = ast.literal_eval(f"b{value}").decode(errors="surrogateescape")
    return found


def set_dump_settings(options: Any, settings: Mapping[str, str | bool]) -> None:
    """Set XLA's dumps in one compilation's options, in place.

    By attributes where there are any; XLA reads these before all else, so that the files which it
    writes of a compilation's own options (0.10.2, 0.12.0) are written, too. On 0.4.13 by overrides,
    which take any option by name.
    """
    debug = options.executable_build_options.debug_options
    if hasattr(debug, "xla_dump_to"):
        for name, value in settings.items():
            setattr(debug, name, value)
    else:
        options.env_option_overrides = [*options.env_option_overrides, *settings.items()]


def option_overrides(options: Any) -> set[str]:
    """Return the names of XLA's options that ``compiler_options`` of a jit set; they win."""
    return {str(name) for name, _ in options.env_option_overrides}


def executable_fingerprint(executable: Any) -> str:
    """Return XLA's digest of an executable's optimised HLO; empty where there is none.

    Public on 0.10.2 and 0.12.0, where it is another one if a pass is disabled by the module's own
    ``compiler_options``; None on 0.4.13, 0.4.23 and 0.4.30.
    """
    fingerprint = getattr(executable, "fingerprint", None)
    return fingerprint.hex() if isinstance(fingerprint, bytes) else ""


def optimized_hlo(executable: Any) -> str:
    """Print an executable's HLO, as it runs, no constant elided."""
    return "\n".join(bindings.hlo_text(module) for module in executable.hlo_modules())


def executable_cost(executable: Any) -> dict[str, float]:
    """Return XLA's cost analysis: flops, transcendentals, bytes accessed."""
    cost = executable.cost_analysis()
    names = ("flops", "transcendentals", "bytes accessed", "optimal_seconds")
    return {name: float(cost[name]) for name in names if name in cost}


def executable_memory(executable: Any) -> dict[str, int]:
    """Return the sizes, in bytes, of an executable's code and of its buffers.

    What XLA's CPU compiler does not fill in is left out: the buffers on 0.4.13 and 0.4.23, the code
    on 0.10.2 and 0.12.0.
    """
    stats = executable.get_compiled_memory_stats()
    names = {
        "code": "generated_code_size_in_bytes",
        "arguments": "argument_size_in_bytes",
        "outputs": "output_size_in_bytes",
        "aliases": "alias_size_in_bytes",
        "temporaries": "temp_size_in_bytes",
    }
    sizes = {name: int(getattr(stats, field)) for name, field in names.items()}
    unknown = set() if sizes["code"] else {"code"}
    if not (sizes["arguments"] or sizes["outputs"]):
        unknown |= sizes.keys() - {"code"}
    return {name: size for name, size in sizes.items() if name not in unknown}


# --- Tested stacks ------------------------------------------------------------------------------

# Name, BrainPy, JAX: the test suite passes on each.
TESTED: tuple[tuple[str, str, str], ...] = (
    ("2022", "2.3.8", "0.4.13"),
    ("2023", "2.4.6.post5", "0.4.23"),
    ("2024", "2.6.0", "0.4.30"),
    ("py311", "2.8.2", "0.10.2"),
    ("latest", "2.9.0", "0.12.0.1"),
)
