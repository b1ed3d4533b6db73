"""Models of the packages that build on brainstate: their names, units and programs."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import brainpy_probe as probe
from brainpy_probe.compat.versions import ECOSYSTEM
from brainpy_probe.verify.api import verify

pytest.importorskip("braincell", reason="only the stack 'ecosystem' has it")

import brainmass
import brainpy
import brainspike
import brainstate
import braintools
import braintrace
import brainunit as u
import jax
from braincell import Branch, Cell, CVPerBranch, Morphology
from braincell.filter import BranchSlice, RootLocation
from braincell.mech import Channel, CurrentClamp

_leaves = jax.tree_util.tree_leaves


def _cell() -> Callable[[], Any]:
    """Return a function that runs a cell of two compartments with sodium and potassium channels."""
    soma = Branch.from_lengths(lengths=[20.0] * u.um, radii=[10.0, 10.0] * u.um, type="soma")
    dendrite = Branch.from_lengths(lengths=[99.0] * u.um, radii=[2.0, 1.0] * u.um, type="dendrite")
    morphology = Morphology.from_root(soma, name="soma")
    morphology.soma.dendrite = dendrite
    cell = Cell(morphology, cv_policy=CVPerBranch(1), solver="staggered")
    density = u.mS / u.cm**2
    cell.paint(
        BranchSlice(branch_index=[0, 1], prox=0.0, dist=1.0),
        Channel("Na_HH1952", g_max=120.0 * density),
        Channel("K_HH1952", g_max=36.0 * density),
    )
    clamp = CurrentClamp(delay=0.1 * u.ms, durations=1.0 * u.ms, amplitudes=0.2 * u.nA)
    cell.place(RootLocation(x=0.5), clamp)
    cell.init_state()
    cell.reset_state()
    return lambda: (cell.run(dt=0.1 * u.ms, duration=1.0 * u.ms).time, cell.V.value)


def _nodes() -> Callable[[], Any]:
    """Return a function that runs a whole-brain model of three nodes."""
    nodes = brainmass.HopfStep(in_size=3, a=0.25, w=0.3)
    simulator = brainmass.Simulator(nodes, dt=0.1 * u.ms)
    return lambda: simulator.run(2.0 * u.ms, monitors=["x"])


class _Spiking(brainstate.nn.Module):
    """A spiking layer with an exponential synapse, and its readout."""

    def __init__(self) -> None:
        super().__init__()
        self.synapse = brainpy.state.Expon(
            4, tau=5.0 * u.ms, g_initializer=braintools.init.Constant(0.0 * u.mA)
        )
        self.layer = brainpy.state.LIF(4, V_rest=0 * u.mV, V_reset=0 * u.mV, V_th=1 * u.mV)

    def update(self, current: Any) -> Any:
        return self.layer(self.synapse(current * u.mA))


def _spikes() -> Callable[[], Any]:
    """Return a function that runs a spiking layer in a loop."""
    net = _Spiking()
    brainstate.nn.init_all_states(net)

    def run() -> Any:
        with brainstate.environ.context(dt=1.0 * u.ms):
            return brainstate.transform.for_loop(net.update, np.ones((20, 4), "float32"))

    return run


class _Rnn(brainstate.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = braintrace.nn.ValinaRNNCell(in_size=1, out_size=4, activation="tanh")
        self.readout = braintrace.nn.Linear(4, 1)

    def update(self, x: Any) -> Any:
        return x >> self.cell >> self.readout


def _online() -> Callable[[], Any]:
    """Return a function that runs one step of online learning."""
    inputs = np.linspace(-1, 1, 10, dtype="float32").reshape(5, 2, 1)
    model = _Rnn()
    online = braintrace.compile(model, "D_RTRL", inputs[0], batch_size=2)
    optimizer = braintools.optim.Adam(lr=1e-2)
    optimizer.register_trainable_weights(model.states(brainstate.ParamState))

    def loss(x: Any, y: Any) -> Any:
        return braintools.metric.squared_error(online(x), y).mean()

    @brainstate.transform.jit
    def train(xs: Any, ys: Any) -> Any:
        grads, losses = online.etrace_grad(xs, ys, step_fn=loss, return_value=True)
        optimizer.update(grads)
        return losses.mean()

    return lambda: train(inputs, inputs)


def _nest() -> Callable[[], Any]:
    """Return a function that runs a neuron with a voltmeter."""
    simulator = brainspike.Simulator(dt=0.1 * u.ms)
    neuron = simulator.create(brainspike.iaf_psc_alpha, 1, I_e=376.0 * u.pA)
    voltmeter = simulator.create(brainspike.voltmeter)
    simulator.connect(voltmeter, neuron)
    return lambda: simulator.simulate(5.0 * u.ms).trace(voltmeter, "V_m")


SODIUM = "ion_channels.na.channels.Na_HH1952"
# The function that builds a run; its kind; states with units; components of its program.
MODELS: dict[str, tuple[Callable[[], Callable[[], Any]], str, dict[str, str], set[str]]] = {
    "braincell": (_cell, "jit", {"V": "mV", f"{SODIUM}.p": ""}, {SODIUM}),
    "brainmass": (_nodes, "jit", {"x": "", "y": ""}, {"HopfStep"}),
    "brainpy.state": (_spikes, "loop", {"layer.V": "mV", "synapse.g": "mA"}, {"layer", "synapse"}),
    "braintrace": (
        _online,
        "fit",
        {"online.model4compile.cell.h": ""},
        {"online.model4compile.cell", "optimizer"},
    ),
    "brainspikes": (_nest, "loop", {}, set()),
}


@pytest.mark.parametrize("package", MODELS)
def test_a_model_of_a_package_is_a_named_proved_program(package: str, out: Path) -> None:
    make, kind, states, components = MODELS[package]
    brainstate.random.seed(1)
    expected = make()()
    brainstate.random.seed(1)
    run = make()
    with probe.capture(out, strict=True) as cap:
        found = run()
    for plain, captured in zip(_leaves(expected), _leaves(found), strict=True):
        np.testing.assert_array_equal(plain, captured)
    (call,) = cap.calls
    program = call.program
    assert (call.kind, call.failure) == (kind, None)
    assert program is not None
    assert program.fidelity.proved
    units = {spec.name: spec.unit for spec in program.results if spec.role == "state"}
    assert states.items() <= units.items(), units
    assert not any(name.startswith("variable") for name in units)
    assert components <= set(program.record.components), program.record.components
    checks = verify(cap.path, limits=None).checks
    assert [check for check in checks if check.outcome == "failed"] == []


def test_the_tested_versions_are_those_of_the_stack() -> None:
    assert {name: importlib.metadata.version(name) for name in ECOSYSTEM} == ECOSYSTEM
