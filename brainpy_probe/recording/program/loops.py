"""Makes the closed program of a loop over time, and the program of one of its steps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import jax
import numpy as np
from jax.tree_util import tree_leaves, tree_structure, tree_unflatten

from brainpy_probe.compat import brainpy_transforms
from brainpy_probe.compat.types import Array, NamedArrays, Pytree
from brainpy_probe.recording.calls import RunningCall
from brainpy_probe.recording.model.pytrees import (
    named_leaves,
    named_results,
    shape_and_dtype,
    signature,
    unique_name,
    units,
)
from brainpy_probe.recording.program.closed import (
    ClosedProgram,
    NamedValue,
    closed_program,
    inputs_of,
    result_leaves,
    swap_axes,
    swap_types,
)
from brainpy_probe.recording.program.equations.callbacks import drop_callbacks
from brainpy_probe.recording.program.recorded_states import recorded_by_loop
from brainpy_probe.recording.program.step import FingerprintCache, TracedStep, refuse_tracers
from brainpy_probe.recording.tracing.traces import LoopRun

__all__ = ["close_loop"]

# Why the program of one step may round differently from the loop.
_BY_ITSELF = "XLA compiles a step by itself differently from the body of a loop"


def close_loop(call: RunningCall, loop: LoopRun, cache: FingerprintCache) -> ClosedProgram:
    """Make the closed program of a loop. Its ``one_step`` makes the program of one step."""
    refuse_tracers(loop.carry, loop.xs)
    step = TracedStep(call, loop.step, cache)
    if brainpy_transforms.orders_by_address() and len(loop.step.states) > 1:
        step.reasons.append("BrainPy 2.4 to 2.6 orders a loop's Variables by their addresses")
    return _TracedLoop(call, loop, step, drop_callbacks(step, loop.carry)).whole()


@dataclass(frozen=True)
class _TracedLoop:
    """A traced loop with named values, without the callbacks that are not part of the model.

    Attributes
    ----------
    call : RunningCall
        The call.
    loop : LoopRun
        The loop.
    step : TracedStep
        Its body.
    counted : bool
        Whether the carry begins with a progress bar's counter, which was removed.
    """

    call: RunningCall
    loop: LoopRun
    step: TracedStep
    counted: bool

    @property
    def monitored(self) -> bool:
        """Whether the results of a step may have monitors."""
        return not self.call.is_standalone

    def user_carry(self, carry: Pytree) -> Pytree:
        """Return a carry without the counter of a progress bar."""
        return carry[1] if self.counted else carry

    @cached_property
    def carried(self) -> NamedArrays:
        """The leaves of the initial carry by name."""
        return named_leaves(("carry", self.user_carry(self.loop.carry)))

    def scanned(self, xs: Pytree, leading: tuple[str, str]) -> tuple[NamedArrays, dict[str, str]]:
        """Name scanned arrays or their entries; return them and their units."""
        return inputs_of(self.call, xs, leading, has_carry=bool(self.carried))

    def evaluate(
        self, constants: NamedArrays, carry: Pytree, entries: list[Array], states: list[Pytree]
    ) -> tuple[Pytree, Pytree, list[Pytree]]:
        """Evaluate one step; return the next carry, the result, and the states' new values."""
        counter = [np.int32(0)] if self.counted else []
        leaves = [*counter, *tree_leaves(carry), *entries]
        (carry, result), states, _ = self.step.run(constants, leaves, states)
        return self.user_carry(carry), result, states

    def whole(self) -> ClosedProgram:
        """Return the closed program of the whole loop."""
        loop, step = self.loop, self.step
        scanned, input_units = self.scanned(loop.xs, ("times", "indices"))
        input_units |= units(("carry", self.user_carry(loop.carry)))
        carry_tree = tree_structure(self.user_carry(loop.carry))
        written = step.written
        last, ys = result_leaves(step)
        outputs = {
            role: {name: leaf.of_steps(loop.length) for name, leaf in leaves.items()}
            for role, leaves in named_results(ys, monitored=self.monitored).items()
        }
        swapped = swap_types(self.call, outputs)
        outputs["outputs"] |= named_leaves(("carry", self.user_carry(last)))

        def program(
            constants: NamedArrays, state: NamedArrays, inputs: NamedArrays
        ) -> dict[str, NamedArrays]:
            before = step.state_values(state)

            # The loop carries the states in the native order, because XLA's fusions, and therefore
            # the rounding of the results, depend on the order.
            def body(looped: Pytree, entries: list[Array]) -> tuple[Pytree, Pytree]:
                changing, carry = step.in_order(looped[0]), looped[1]
                states = [c if w else b for c, b, w in zip(changing, before, written, strict=True)]
                carry, y, new = self.evaluate(constants, carry, entries, states)
                changing = [n if w else None for n, w in zip(new, written, strict=True)]
                return (step.as_traced(changing), carry), y

            changing = [b if w else None for b, w in zip(before, written, strict=True)]
            carry = tree_unflatten(carry_tree, [inputs[name] for name in self.carried])
            xs = [inputs[name] for name in scanned]
            first = step.as_traced(changing), carry
            (changing, carry), ys = jax.lax.scan(body, first, xs, **loop.options)
            changing = step.in_order(changing)
            after = [c if w else b for c, b, w in zip(changing, before, written, strict=True)]
            results = named_results(ys, monitored=self.monitored)
            swap_axes(results, swapped)
            results["outputs"] |= named_leaves(("carry", carry))
            return {**results, "state": step.state_leaves(after)}

        closed = closed_program(
            step,
            "loop",
            program,
            scanned | self.carried,
            input_units,
            outputs,
            swapped,
            recorded_by_loop(step, loop),
            loop.options,
        )
        closes_over = [n for n in range(len(loop.step.states)) if n not in loop.carried]
        counter = ["progress bar"] if self.counted else []
        # JAX chooses the order of the values that the body closes over.
        closed_over = ["constant"] * (len(loop.step.constants) + len(step.names_of(closes_over)))
        native = [*closed_over, *step.names_of(loop.carried), *counter, *self.carried, *scanned]
        return replace(
            closed,
            native_arguments=tuple(native),
            loop=loop,
            one_step=lambda: self.one_step(closed),
        )

    def one_step(self, whole: ClosedProgram) -> ClosedProgram:
        """Return the closed program of one step of the loop.

        Its inputs are one entry of each scanned array. The carry is part of its state.

        Parameters
        ----------
        whole : ClosedProgram
            The program of the whole loop.
        """
        step = self.step
        scanned, _ = self.scanned(self.loop.xs, ("times", "indices"))
        entries, _ = self.scanned(self.loop.xs, ("t", "i"))
        whole_names = dict(zip(entries, scanned, strict=True))
        taken = {*step.state, *step.final_state_avals()}
        carried = {unique_name(name, taken): name for name in self.carried}
        carry_tree = tree_structure(self.user_carry(self.loop.carry))
        _, ys = result_leaves(step)
        stacked = named_results(ys, monitored=self.monitored)
        leaves = {
            **{("monitor", name): leaf.aval for name, leaf in stacked["monitors"].items()},
            **{("output", name): leaf.aval for name, leaf in stacked["outputs"].items()},
        }

        def program(
            constants: NamedArrays, state: NamedArrays, inputs: NamedArrays
        ) -> dict[str, NamedArrays]:
            carry, result, new = self.evaluate(
                constants,
                tree_unflatten(carry_tree, [state[name] for name in carried]),
                [inputs[name] for name in entries],
                step.state_values(state),
            )
            after = named_leaves(("carry", carry)).values()
            return {
                **named_results(result, monitored=self.monitored),
                "state": step.state_leaves(new) | dict(zip(carried, after, strict=True)),
            }

        values = {(item.role, item.name): item for item in whole.arguments}
        arguments = [item for item in whole.arguments if item.role != "input"]
        arguments += [_carried(values["input", old], name) for name, old in carried.items()]
        arguments += [_entry(values["input", old], name) for name, old in whole_names.items()]
        results = [
            replace(item, value=leaves[key], loop_axis=int(key in whole.swapped))
            for item in whole.results
            if (key := (item.role, item.name)) in leaves
        ]
        results += [item for item in whole.results if item.role == "state"]
        last = {item.name: item for item in whole.results if item.role == "output"}
        results += [_carried(last[old], name) for name, old in carried.items()]
        types = [(item.path, signature(item.value)) for item in arguments]
        program.__name__ = program.__qualname__ = whole.name
        return replace(
            whole,
            kind="step",
            fingerprint=step.fingerprint("one step", types, [item.path for item in results]),
            function=program,
            arguments=_flattened(arguments),
            results=_flattened(results),
            swapped=frozenset(),
            records={key: state for key, state in whole.records.items() if state},
            native=None,
            native_arguments=(),
            reasons=(*whole.reasons, _BY_ITSELF),
            one_step=None,
        )


def _entry(item: NamedValue, name: str) -> NamedValue:
    """Return one entry of a scanned array, without a value."""
    array = item.value
    value = shape_and_dtype(np.shape(array)[1:], array.dtype)
    entry = replace(item, name=name, value=value, loop_axis=0)
    return entry if name == item.name else replace(entry, loop_path=item.path)


def _carried(item: NamedValue, name: str) -> NamedValue:
    """Return an initial or last value of the carry as a state."""
    return replace(item, role="state", name=name, loop_path=item.path)


# The order in which JAX flattens the groups of arguments and of results.
_ORDER = ("constant", "monitor", "output", "state", "input")


def _flattened(items: list[NamedValue]) -> list[NamedValue]:
    """Return arguments or results in the order in which JAX flattens them."""
    return sorted(items, key=lambda item: (_ORDER.index(item.role), item.name))
