"""Begins and ends the calls of runs without a runner, from BrainPy 2.7 on.

An outermost loop, condition or jitted function of brainstate is a call. It begins with the first
request for the states of its function, and ends with the assignment of the new values.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import FrameType, MappingProxyType
from typing import Any

import jax

from brainpy_probe.compat import brainpy_model, brainstate_runs, jax_compiler, jax_tracing
from brainpy_probe.compat.types import (
    Array,
    Primitive,
    Pytree,
    StatefulFunction,
    StateTrace,
    Variable,
)
from brainpy_probe.errors import CannotCapture
from brainpy_probe.format.manifest.records import CallKind
from brainpy_probe.recording import lifecycle
from brainpy_probe.recording.calls import RunningCall
from brainpy_probe.recording.current import OWN_WORK
from brainpy_probe.recording.model import scopes
from brainpy_probe.recording.model.standalone import (
    Namespace,
    StandaloneRun,
    standalone_run,
)
from brainpy_probe.recording.patches import ACTIVE
from brainpy_probe.recording.snapshot import Snapshot
from brainpy_probe.recording.tracing.repeated_runs import RepeatedRun
from brainpy_probe.recording.tracing.traces import NativeResults, StateUse, StepTrace
from brainpy_probe.recording.tracing.training import trains

__all__ = [
    "BoundPrimitive",
    "begin",
    "begin_call",
    "finish",
    "is_not_recorded",
    "is_stateless",
    "mark_training",
    "may_begin",
    "values_before",
]

_leaves = jax.tree_util.tree_leaves


def may_begin(frame: FrameType | None) -> bool:
    """Return whether a frame makes an outermost run that is to be recorded."""
    return (
        bool(ACTIVE.users)
        and not OWN_WORK.get()
        and brainstate_runs.run_kind(frame) is not None
        and jax_tracing.trace_state_clean()
    )


def begin(stateful: StatefulFunction, frame: FrameType) -> RunningCall:
    """Begin the call of an outermost run, given its function and the frame that makes it."""
    kind = brainstate_runs.run_kind(frame) or "jit"
    return begin_call(
        lambda: brainstate_runs.run_functions(frame, stateful),
        kind,
        frame,
        static=brainstate_runs.static_arguments(frame, stateful),
        frame=frame,
        function=stateful,
    )


def begin_call(
    functions: Callable[[], Sequence[Any]],
    kind: CallKind,
    caller: FrameType,
    static: Mapping[int | str, Any] = MappingProxyType({}),
    **fields: Any,
) -> RunningCall:
    """Begin the call of a run without a runner, and name the model.

    Parameters
    ----------
    functions : callable
        Returns the functions that run. The first gives the call its name.
    kind : str
        ``loop``, ``cond`` or ``jit``.
    caller : frame
        The frame that makes the run.
    static : mapping
        The first function's static arguments, by position or name.
    **fields
        Further fields of the :class:`RunningCall`.
    """
    runner, problem = StandaloneRun(Namespace({}), Namespace({}), "function"), None
    try:
        runner = standalone_run(functions(), static)
        if _runs_method(caller, runner.holder, "fit"):
            kind = "fit"
    except Exception as error:  # raised by a user's object when it is inspected
        problem = error
    call = lifecycle.begin(RunningCall(runner, kind=kind, **fields))
    if problem is not None:
        call.add_name_failure(problem)
    with call.own_work(names=True):
        if not jax_compiler.names_are_in_cache_keys():
            scopes.name_components(call)
        components = call.components or scopes.read_components(runner)
        call.snapshot = Snapshot(components.names.variables())
    return call


def _runs_method(frame: FrameType | None, obj: Any, name: str) -> bool:
    """Return whether a method of an object's class is on the stack."""
    method: Any = getattr(type(obj), name, None)
    code = None if method is None else inspect.unwrap(method).__code__
    while frame is not None and code is not None:
        if frame.f_code is code:
            return True
        frame = frame.f_back
    return False


def values_before(call: RunningCall) -> dict[int, Pytree]:
    """Return the values of the states of a loop or condition that is about to run, by their ids."""
    states = [] if call.frame is None else brainstate_runs.run_states(call.frame)
    return {id(state): brainpy_model.raw_value(state) for state in states}


def is_not_recorded(call: RunningCall, states: StateTrace) -> bool:
    """Return whether a run is not recorded as a call; see :func:`is_stateless`."""
    return is_stateless(call, states.states)


def is_stateless(call: RunningCall, variables: Sequence[Variable]) -> bool:
    """Return whether a run is not recorded because it uses no state: a jit, or a library's loop.

    A library's run that only draws random numbers, such as an initializer's, is not recorded
    either.
    """
    if call.kind == "fit":
        return False
    if variables:
        random_state = type(brainpy_model.take("random-state"))
        return not call.runner.is_users and all(isinstance(v, random_state) for v in variables)
    return call.kind != "loop" or not call.runner.is_users


@dataclass(frozen=True)
class BoundPrimitive:
    """An outermost loop or condition that JAX has run: primitive, operands and results."""

    primitive: Primitive
    operands: Sequence[Array]
    params: dict[str, Any]
    results: Sequence[Array]
    before: dict[int, Pytree]
    compilation: Any


def finish(call: RunningCall, states: StateTrace) -> None:
    """End a call after its run, given the states to which the run has just assigned values.

    Raises
    ------
    Exception
        A failure of the probe, with ``strict=True``.
    """
    frame = call.frame
    if frame is None:
        return
    if is_not_recorded(call, states):
        lifecycle.cancel(call)
        return
    with call.own_work():
        if call.snapshot is not None:
            call.snapshot.end()
        call.upcoming = None
        variables = list(states.states)
        written = [variable.value if w else None for variable, w in _states_and_writes(states)]
        if brainstate_runs.run_kind(frame) == "jit":
            trace: Any = call.candidates[-1][1]
            name = brainstate_runs.jit_module(frame)
            call.candidates[-1] = (
                True,
                replace(
                    trace,
                    native=NativeResults(brainstate_runs.jit_outputs(frame), written),
                    compilation=call.compilation_since(0, name),
                ),
            )
        elif call.bound is not None and not call.candidates:
            trace = _trace_of_primitive(call, call.bound, variables, written)
            call.candidates.append((True, trace))
        mark_training(call)
    function, kind, seconds = call.function, brainstate_runs.run_kind(frame), call.watch.timing()
    lifecycle.end(call)
    if kind == "jit" and seconds.wall is not None:
        repeated = RepeatedRun(call.serial, call.sessions, states.states, states)
        repeated.add(seconds.wall)
        ACTIVE.repeated.add(function, id(states), repeated)


def _states_and_writes(states: StateTrace) -> Iterable[tuple[Variable, bool]]:
    from brainpy_probe.compat import brainpy_transforms

    return zip(states.states, brainpy_transforms.is_written(states), strict=True)


def mark_training(call: RunningCall) -> None:
    """Mark a call as a fit if its run trains the model."""
    if call.candidates and trains(call.candidates[-1][1]):
        call.kind = "fit"


def _trace_of_primitive(
    call: RunningCall,
    bound: BoundPrimitive,
    variables: Sequence[Variable],
    after: Sequence[Pytree],
) -> StepTrace:
    """Return the trace of a run that was a single loop or condition of JAX.

    An operand is the value of a state, an array of the model, or an input. A result is the new
    value of a state, or an output. Operands and values are compared by identity.
    """
    known = [variable for variable in variables if id(variable) in bound.before]
    values = [bound.before[id(variable)] for variable in known]
    held = [leaf for value in values for leaf in _leaves(value)]
    numbers = {id(leaf): number for number, leaf in enumerate(held)}
    others: list[Array] = []
    places = []
    for operand in bound.operands:
        if id(operand) not in numbers:
            numbers[id(operand)] = len(held) + len(others)
            others.append(operand)
        places.append(numbers[id(operand)])

    def run(arrays: list[Array]) -> Pytree:
        return bound.primitive.bind(*[arrays[place] for place in places], **bound.params)

    closed = jax.make_jaxpr(run)([*held, *others])
    jaxpr = closed.jaxpr
    reads = list(jaxpr.invars)
    names = scopes.names_of(call, [], others)
    constants = [n for n, name in enumerate(names.arrays) if name is not None]
    inputs = [n for n in range(len(others)) if n not in constants]
    outs = {id(result): atom for result, atom in zip(bound.results, jaxpr.outvars, strict=True)}
    states: list[StateUse] = []
    taken: set[int] = set()
    start = 0
    for variable, value, new in zip(known, values, _chosen(variables, known, after), strict=True):
        number = len(_leaves(value))
        writes = None
        if new is not None:
            new_leaves = _leaves(new)
            if any(id(leaf) not in outs for leaf in new_leaves):
                raise CannotCapture(
                    "The new value of a state is not a result of the loop that ran.",
                    "The probe does not support this version of brainstate.",
                )
            writes = [outs[id(leaf)] for leaf in new_leaves]
            taken.update(id(leaf) for leaf in new_leaves)
        states.append(StateUse(variable, value, reads[start : start + number], writes))
        start += number
    returned = [result for result in bound.results if id(result) not in taken]
    result_tree = jax.tree_util.tree_structure(
        returned[0] if len(returned) == 1 else tuple(returned)
    )
    return StepTrace(
        eqns=list(jaxpr.eqns),
        constants=[
            *((reads[len(held) + n], others[n]) for n in constants),
            *zip(jaxpr.constvars, closed.consts, strict=True),
        ],
        args=tuple(others[n] for n in inputs),
        kwargs={},
        invars=[reads[len(held) + n] for n in inputs],
        states=states,
        result=[outs[id(result)] for result in returned],
        result_tree=result_tree,
        compilation=bound.compilation,
        native=NativeResults(returned, _chosen(variables, known, after)),
    )


def _chosen(
    variables: Sequence[Variable], known: Sequence[Variable], values: Sequence[Pytree]
) -> list[Pytree]:
    """Return the values of some of the variables."""
    by_id = {id(variable): value for variable, value in zip(variables, values, strict=True)}
    return [by_id[id(variable)] for variable in known]
