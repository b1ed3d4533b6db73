"""Notes what BrainPy traces from 2.7 on, where brainstate keeps the state; makes no program."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax

from brainpy_probe.live import seams
from brainpy_probe.live.calls import CURRENT_CALL, LoopRun, StateUse, StepTrace, kept
from brainpy_probe.live.patching import Patch

__all__ = ["patches", "traced"]

Wrapped = Callable[..., Any]
Args = tuple[Any, ...]
Kwargs = dict[str, Any]


def patches() -> list[Patch]:
    """Return what is to be wrapped while a capture is open."""
    seams.take("scan")
    stateful = seams.take("stateful-function")
    return [
        Patch(stateful, "make_jaxpr", make_jaxpr),
        Patch(stateful, "get_state_trace", get_state_trace),
        Patch(jax.lax, "scan", scan),
    ]


def make_jaxpr(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Stand in for ``StatefulFunction.make_jaxpr``: what goes on in there is not outermost."""
    call = CURRENT_CALL.get()
    if call is None or call.tracing:
        return wrapped(*args, **kwargs)
    with call.inside():
        return wrapped(*args, **kwargs)


def get_state_trace(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Stand in for ``StatefulFunction.get_state_trace``: notes the outermost traces of a call.

    Every loop and every jit asks for its states in this way just before it runs, be the jaxpr
    fresh or from brainstate's cache.
    """
    states = wrapped(*args, **kwargs)
    call = CURRENT_CALL.get()
    if call is not None and not call.tracing and id(instance) not in call.noted:
        call.noted[id(instance)] = instance
        with call.noting():
            kwargs = {name: value for name, value in kwargs.items() if name != "compile_if_miss"}
            call.traces.append(_step(instance, args, kwargs))
    return states


def scan(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Stand in for ``jax.lax.scan``: notes the loops that a call makes outside of any trace."""
    call = CURRENT_CALL.get()
    if call is None or call.tracing or not call.traces:
        return wrapped(*args, **kwargs)
    with call.inside():
        result = wrapped(*args, **kwargs)
    with call.noting():
        given = seams.scan_arguments(*args, **kwargs)
        options = {name: given[name] for name in ("length", "reverse", "unroll")}
        step, (changing, carry), (after, last) = call.traces[-1], given["init"], result[0]
        carried = [n for n, value in enumerate(changing) if value is not None]
        ys = kept(result[1])
        call.loops.append(
            LoopRun(step, carry, given["xs"], options, last, ys, list(after), carried)
        )
    return result


def traced(
    function: Callable[..., Any], args: Args, kwargs: Kwargs, reached: Sequence[Any]
) -> StepTrace:
    """Trace a function that reads and writes Variables; brainstate puts these back.

    Raises
    ------
    Exception
        Whatever the function raises.
    """
    del reached  # brainstate finds the Variables itself
    stateful = seams.take("stateful-function")(function, name="step")
    stateful.make_jaxpr(*args, **kwargs)
    return _step(stateful, args, kwargs)


def _step(stateful: Any, args: Args, kwargs: Kwargs) -> StepTrace:
    key = stateful.get_arg_cache_key(*args, **kwargs)
    states = stateful.get_state_trace_by_cache(key)
    closed = stateful.get_jaxpr_by_cache(key)
    jaxpr = closed.jaxpr
    values = [variable.value for variable in states.states]
    entering = [len(jax.tree_util.tree_leaves(value)) for value in values]
    own = len(jaxpr.invars) - sum(entering)
    result_tree, made_tree = stateful.get_out_treedef_by_cache(key).children()
    leaving = [tree.num_leaves for tree in made_tree.children()]
    returned = result_tree.num_leaves
    return StepTrace(
        eqns=list(jaxpr.eqns),
        constants=list(zip(jaxpr.constvars, closed.consts, strict=True)),
        args=args,
        kwargs=kwargs,
        invars=list(jaxpr.invars[:own]),
        states=[
            StateUse(variable, value, read, new if writes else None)
            for variable, value, read, new, writes in zip(
                states.states,
                values,
                _groups(jaxpr.invars[own:], entering),
                _groups(jaxpr.outvars[returned:], leaving),
                seams.is_written(states),
                strict=True,
            )
        ],
        result=list(jaxpr.outvars[:returned]),
        result_tree=result_tree,
    )


def _groups(flat: Sequence[Any], sizes: Sequence[int]) -> list[list[Any]]:
    """Cut a sequence into groups of the sizes given."""
    rest = iter(flat)
    return [list(itertools.islice(rest, size)) for size in sizes]
