"""BrainPy's DSRunner: its private names, and the attributes that a run reads and sets.

BrainPy 2.3.8 to 2.9.0. Each function names the versions in which a fact was seen.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from brainpy_probe.compat.brainpy_model import on_brainstate
from brainpy_probe.compat.lookup import NAMES, PrivateName, take, uses_brainpy
from brainpy_probe.compat.types import Args, Array, Kwargs, NamedArrays, Pytree, Runner

__all__ = [
    "MONITOR_TAKER",
    "STEP",
    "STEP_METHODS",
    "STEP_PARTS",
    "changed_by_runs",
    "compiles_its_step",
    "first_step",
    "held_monitors",
    "holder_classes",
    "is_brainpys_own",
    "is_cached_loop",
    "iterated_inputs",
    "monitor_names",
    "overrides_results",
    "predict_arguments",
    "shared_context",
    "step_function",
    "step_settings",
    "swaps_axes",
    "take",
]

NAMES.update(
    {
        "runner": PrivateName(
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
        "integrator-runner": PrivateName(
            "BrainPy's IntegratorRunner",
            ("brainpy:IntegratorRunner",),
            "public; brainpy 2.3.8 to 2.9.0. Its attribute variables has the Variables by name",
        ),
        "loop-over-time": PrivateName(
            "BrainPy's LoopOverTime",
            ("brainpy:LoopOverTime",),
            "public; brainpy 2.3.8 to 2.9.0. Its attribute target is the model",
        ),
        "share": PrivateName("bp.share", ("brainpy:share",), "public; brainpy 2.3.8 to 2.9.0"),
        "environment": PrivateName(
            "the store behind bp.share",
            ("brainstate:environ",),
            "public; brainpy 2.8.2, 2.9.0: brainpy/context.py saves t, i and dt there",
            era="brainstate",
            members=("all", "set", "pop"),
        ),
        "environment-scope": PrivateName(
            "the scope in which bp.share saves",
            ("brainpy.math.defaults:env",),
            "brainpy 2.8.2, 2.9.0: brainpy/context.py",
            era="brainstate",
        ),
    }
)


# The method that receives the monitors of a memory_efficient step (2.3.8 to 2.9.0: runners.py).
MONITOR_TAKER = "_step_mon_on_cpu"


# A runner's method that computes one step, and the attribute in which 2.3.8 keeps compiled loops or
# steps, by their shared arguments (2.3.8 to 2.9.0: runners.py; back_propagation.py for BPFF).
STEP = "_step_func_predict"


_COMPILED_LOOPS = "_f_predict_compiled"


# The methods that set the model's inputs in a step, and read its monitors (2.3.8: dyn/runners.py;
# 2.4.6 to 2.9.0: runners.py).
STEP_PARTS = ("_step_func_input", "_step_func_monitor")


def compiles_its_step(runner: Runner) -> bool:
    """Return whether a runner traces its loop or its step; with ``jit=False`` it traces neither.

    ``DSRunner._fun_predict`` makes the same check. JAX's own ``jax_disable_jit`` has the same
    effect; on 2.3.8 ``predict`` sets it while it runs.
    """
    import jax

    return bool(runner.jit["predict"]) and not jax.config.jax_disable_jit


_signature = functools.lru_cache(maxsize=256)(inspect.signature)


def predict_arguments(predict: Any, args: Args, kwargs: Kwargs) -> tuple[Any, tuple[Any, ...], Any]:
    """Return a ``_predict`` call's step indices (or None), the user's inputs, and shared arguments.

    ``_predict(indices, *xs, shared_args=)`` from 2.4 on; ``_predict(xs=(times, indices, inputs),
    shared_args=)`` on 2.3.8.
    """
    function = getattr(predict, "__func__", None)
    if function is None:
        bound = inspect.signature(predict).bind(*args, **kwargs).arguments
    else:
        bound = _signature(function).bind(predict.__self__, *args, **kwargs).arguments
    shared = bound.get("shared_args")
    if "indices" in bound:
        return bound["indices"], tuple(bound.get("xs", ())), shared
    if isinstance(bound.get("xs"), tuple) and len(bound["xs"]) == 3:
        _, indices, inputs = bound["xs"]
        return indices, (inputs,), shared
    return None, (), shared  # BPFF passes its inputs unchanged, without indices


def first_step(runner: Runner, indices: Array, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the arguments of a runner's first step: index and inputs, before 2.4 also the time.

    On 2.3.8 the step also takes an entry of ``times = indices * dt + t0``.
    """
    import jax
    import numpy as np

    first = jax.tree_util.tree_map(lambda x: np.asarray(x)[0], inputs)
    if _takes_times(runner):
        return np.asarray(indices[0] * runner.dt + runner.t0), indices[0], *first
    return (indices[0], *first)


def _takes_times(runner: Runner) -> bool:
    return "t" in inspect.signature(runner._step_func_predict).parameters


def step_function(runner: Runner, shared_args: Any) -> Any:
    """Return the function of one step; :func:`first_step` returns its arguments.

    ``step(i, *xs, shared_args=)`` from 2.4 on, ``step(shared_args, t, i, x)`` on 2.3.8.
    """
    step = runner._step_func_predict
    if _takes_times(runner):
        return functools.partial(step, {} if shared_args is None else shared_args)
    return functools.partial(step, shared_args=shared_args)


def is_cached_loop(runner: Runner, function: Any) -> bool:
    """Return whether a function is a compiled loop or step that a runner keeps (only 2.3.8)."""
    return any(loop is function for loop in getattr(runner, _COMPILED_LOOPS, {}).values())


@functools.cache
def holder_classes() -> tuple[type, ...]:
    """Return BrainPy's classes whose objects run a model by a loop or jit.

    The trainers are subclasses of the runner's class.
    """
    names = ("runner", "integrator-runner", "loop-over-time")
    return tuple(take(name) for name in names) if uses_brainpy() else ()


@functools.cache
def is_brainpys_own(runner_class: type) -> bool:
    """Return whether a runner's class is BrainPy's: DSRunner or a trainer."""
    return runner_class.__module__.partition(".")[0] == "brainpy"


def swaps_axes(runner: Runner) -> bool:
    """Return whether ``DSRunner._predict`` swaps the first two axes of each result after its loop.

    It swaps them in a batching mode with ``data_first_axis="B"``, for results with two axes or more
    (2.3.8 to 2.9.0: runners.py).
    """
    import brainpy.math as bm

    return runner.data_first_axis == "B" and isinstance(runner.target.mode, bm.BatchingMode)


def overrides_results(runner: Runner) -> bool:
    """Return whether a runner's class overrides the method that turns the loop into results.

    ``_fun_predict`` from 2.4 on, ``_get_f_predict`` on 2.3.8 (runners.py).
    """
    return any(
        getattr(type(runner), name, None) is not getattr(take("runner"), name, None)
        for name in ("_fun_predict", "_get_f_predict")
    )


def held_monitors(runner: Runner, predicted: Pytree) -> tuple[NamedArrays, int | None]:
    """Return the values of a runner's monitors by name, and the number of recorded step times.

    These are the monitors that the user requested and those that ``_predict`` returned: an
    ``OfflineTrainer`` adds some. ``predict`` may set ``mon["ts"]`` to the times (2.3.8 to 2.9.0:
    runners.py, offline.py).
    """
    added = predicted[1] if isinstance(predicted, tuple) and len(predicted) == 2 else None
    names = [*runner._monitors, *(added if isinstance(added, dict) else ())]
    held = {name: runner.mon[name] for name in names if name in runner.mon}
    return held, len(runner.mon["ts"]) if "ts" in runner.mon else None


def monitor_names(runner: Runner) -> list[str]:
    """Return the names of a runner's monitors, in the order in which JAX flattens them."""
    return sorted(runner._monitors)


def iterated_inputs(runner: Runner) -> list[list[Any]]:
    """Return the ``[Variable, iterator]`` entries from which each step takes one item."""
    inputs = runner._inputs
    if not isinstance(inputs, dict):
        return []
    return [entry for entries in inputs["iterated"].values() for entry in entries]


def shared_context() -> Callable[[], None]:
    """Return a function that restores the present content of ``bp.share``.

    From 2.7 on the content is in brainstate's environment, before in dicts of ``bp.share`` (2.3.8:
    dyn/context.py, 2.4.6, 2.6.0: context.py).
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


# The methods of a runner that its step consists of.
STEP_METHODS = (STEP, *STEP_PARTS)


# BrainPy's settings: attributes of brainpy.math.defaults from 2.4 on, of brainpy.math on 2.3.8.
_SETTINGS = (
    "mode", "membrane_scaling", "dt", "bool_", "int_", "float_", "complex_", "bp_object_as_pytree",
    "numpy_func_return",
)  # fmt: skip


def changed_by_runs(runner: Runner) -> frozenset[str]:
    """Return the attributes of a runner that each run sets and BrainPy's own step never reads.

    2.3.8 also advances ``t0``, and passes the time to its step; from 2.4 on the step reads ``t0``
    (dyn/runners.py; runners.py).
    """
    return frozenset({"i0", "mon"} | ({"t0", "_t0"} if _takes_times(runner) else set()))


def step_settings(*, saved_by_step: bool) -> list[dict[str, Any]]:
    """Return the values of BrainPy's settings and of ``bp.share`` that a step may read.

    ``saved_by_step`` leaves out the values that BrainPy's own step saves before it reads them:
    ``t``, ``i`` and ``dt`` (2.3.8 to 2.9.0: runners.py). ``get_dt``, which is public, reads the
    defaults from a separate module from 2.4 on (2.4.6, 2.6.0: _src/math/environment.py; 2.8.2,
    2.9.0: math/environment.py, where ``dt`` is in the environment that ``bp.share`` saves to).
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
