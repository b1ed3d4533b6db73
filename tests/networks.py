"""The real BrainPy networks that the tests run.

Each case builds a new, seeded model with its runner and defines how to run it once, so that two
builds in one process give bit-identical outputs, monitors and Variables. The networks are tiny:
they are chosen for the features of BrainPy that they use, not for what they compute. They are the
same on every BrainPy version; `ABSENT` lists the cases that the installed version cannot run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import brainpy as bp
import brainpy.math as bm
import numpy as np

from tests import eras

SEED = 20240607

# JAX's names for the module of a runner's loop: from 2.4 on BrainPy calls jax.lax.scan outside of
# any jit, 2.3.8 calls it within a jitted function.
LOOP_MODULES = ("jit_scan", "jit__transform_function")

# BrainPy's own annotations reject or lack calls that its documentation shows: such calls go through
# these names.
_bp: Any = bp
_bm: Any = bm


@dataclass(frozen=True)
class Case:
    """A network, the runner that drives it and the call that runs it.

    Attributes
    ----------
    name : str
        The kebab-case name of the case.
    build : callable
        Builds a new model and its runner, the same each time: it seeds the generators itself.
    run : callable
        Runs the runner once and returns its outputs.
    stepwise : bool
        Whether BrainPy calls the step from Python: there is no compiled loop.
    """

    name: str
    build: Callable[[], bp.DSRunner]
    run: Callable[[bp.DSRunner], Any]
    stepwise: bool = False


# Loads one of the step's shared arguments. A runner of BrainPy 2.3 also passes all of them, as the
# only argument of the functions that it calls.
_load: Any = bp.share.load


def _seed() -> None:
    """Seed both generators that BrainPy's initializers and connectors draw from."""
    bm.random.seed(SEED)
    np.random.seed(SEED)


def _for(duration: float) -> Callable[[bp.DSRunner], Any]:
    """Return a function that runs a runner for `duration` milliseconds."""

    def run(runner: bp.DSRunner) -> Any:
        return runner.run(duration)

    return run


def _features(*shape: int) -> Any:
    """Return a smooth array of inputs of the given shape, as a BrainPy array."""
    size = int(np.prod(shape))
    return _bm.asarray(np.sin(np.arange(size) * 0.37).reshape(shape), dtype=bm.float_)


def _with_inputs(*shape: int) -> Callable[[bp.DSRunner], Any]:
    """Return a function that runs a runner with inputs of the given shape, as a BrainPy array."""

    def run(runner: bp.DSRunner) -> Any:
        return runner.run(inputs=_features(*shape))

    return run


def _with_jax_inputs(*shape: int) -> Callable[[bp.DSRunner], Any]:
    """Return a function that runs a runner with inputs of the given shape, as a JAX array.

    With a batch, BrainPy 2.3 fails on a BrainPy array: it passes the array to `jax.numpy`.
    """

    def run(runner: bp.DSRunner) -> Any:
        return runner.run(inputs=_bm.as_jax(_features(*shape)))

    return run


# --------------------------------------------------------------------------------------
# Spiking networks
# --------------------------------------------------------------------------------------

_CORTICAL: dict[str, Any] = {
    "V_rest": -60.0,
    "V_th": -50.0,
    "V_reset": -60.0,
    "tau": 20.0,
    "tau_ref": 5.0,
}


def _fixed_prob(prob: float, seed: int, **size: int) -> Any:
    # Without allow_multi_conn, FixedProb compiles a Numba function for each connector: seconds for
    # a network that runs in milliseconds.
    return _bp.conn.FixedProb(prob, allow_multi_conn=True, seed=seed, **size)


def _build_lif() -> bp.DSRunner:
    _seed()
    group = bp.neurons.LIF(20, V_initializer=_bp.init.Uniform(0.0, 20.0))
    return bp.DSRunner(group, inputs=("input", 20.5), monitors=["V", "spike"], progress_bar=False)


class EINet(eras.Group):
    """The excitatory-inhibitory network of LIF neurons, with BrainPy's compatibility synapses."""

    def __init__(self, num_exc: int = 32, num_inh: int = 8) -> None:
        super().__init__()
        start = _bp.init.Normal(-55.0, 2.0)
        self.E = bp.neurons.LIF(num_exc, V_initializer=start, **_CORTICAL)
        self.I = bp.neurons.LIF(num_inh, V_initializer=start, **_CORTICAL)
        self.E2E = self._synapse(self.E, self.E, reversal=0.0, tau=5.0, g_max=0.6, seed=1)
        self.E2I = self._synapse(self.E, self.I, reversal=0.0, tau=5.0, g_max=0.6, seed=2)
        self.I2E = self._synapse(self.I, self.E, reversal=-80.0, tau=10.0, g_max=6.7, seed=3)
        self.I2I = self._synapse(self.I, self.I, reversal=-80.0, tau=10.0, g_max=6.7, seed=4)

    @staticmethod
    def _synapse(
        pre: bp.neurons.LIF,
        post: bp.neurons.LIF,
        *,
        reversal: float,
        tau: float,
        g_max: float,
        seed: int,
    ) -> bp.synapses.Exponential:
        return bp.synapses.Exponential(
            pre,
            post,
            _fixed_prob(0.2, seed),
            output=bp.synouts.COBA(E=reversal),
            g_max=g_max,
            tau=tau,
        )


def _build_einet() -> bp.DSRunner:
    _seed()
    return bp.DSRunner(
        EINet(),
        inputs=[("E.input", 20.0), ("I.input", 20.0)],
        monitors=["E.spike", "I.spike"],
        progress_bar=True,
    )


class EINetCOBA(eras.Group):
    """The same network in the API of BrainPy 2.1 to 2.3, whose synapses hold their output."""

    def __init__(self, num_exc: int = 32, num_inh: int = 8) -> None:
        start = _bp.init.Normal(-55.0, 2.0)
        exc = bp.neurons.LIF(num_exc, V_initializer=start, **_CORTICAL)
        inh = bp.neurons.LIF(num_inh, V_initializer=start, **_CORTICAL)
        excitatory = {"E": 0.0, "tau": 5.0, "g_max": 0.6}
        inhibitory = {"E": -80.0, "tau": 10.0, "g_max": 6.7}
        coba = _bp.dyn.ExpCOBA
        super().__init__(
            coba(exc, exc, _fixed_prob(0.2, 1), **excitatory),
            coba(exc, inh, _fixed_prob(0.2, 2), **excitatory),
            coba(inh, exc, _fixed_prob(0.2, 3), **inhibitory),
            coba(inh, inh, _fixed_prob(0.2, 4), **inhibitory),
            E=exc,
            I=inh,
        )


def _build_einet_coba() -> bp.DSRunner:
    _seed()
    return bp.DSRunner(
        EINetCOBA(),
        inputs=[("E.input", 20.0), ("I.input", 20.0)],
        monitors=["E.spike", "I.V"],
        progress_bar=True,
    )


class EIProjections(eras.Group):
    """The same network with the neurons and projections of BrainPy 2.4 and later."""

    def __init__(self, num_exc: int = 32, num_inh: int = 8) -> None:
        super().__init__()
        start = _bp.init.Normal(-55.0, 2.0)
        self.E = eras.LifRef(num_exc, V_initializer=start, **_CORTICAL)
        self.I = eras.LifRef(num_inh, V_initializer=start, **_CORTICAL)
        self.E2E = self._project(self.E, self.E, reversal=0.0, tau=5.0, weight=0.6, seed=1)
        self.E2I = self._project(self.E, self.I, reversal=0.0, tau=5.0, weight=0.6, seed=2)
        self.I2E = self._project(self.I, self.E, reversal=-80.0, tau=10.0, weight=6.7, seed=3)
        self.I2I = self._project(self.I, self.I, reversal=-80.0, tau=10.0, weight=6.7, seed=4)

    @staticmethod
    def _project(
        pre: Any,
        post: Any,
        *,
        reversal: float,
        tau: float,
        weight: float,
        seed: int,
    ) -> Any:
        conn = _fixed_prob(0.2, seed, pre=pre.num, post=post.num)
        return _bp.dyn.ProjAlignPostMg2(
            pre=pre,
            delay=None,
            comm=bp.dnn.EventCSRLinear(conn, weight),
            syn=bp.dyn.Expon.desc(size=post.num, tau=tau),
            out=bp.dyn.COBA.desc(E=reversal),
            post=post,
        )

    def update(self, drive: Any) -> Any:
        self.E2E()
        self.E2I()
        self.I2E()
        self.I2I()
        self.E(drive)
        self.I(drive)
        return self.E.spike.value


def _build_einet_projections() -> bp.DSRunner:
    _seed()
    net = EIProjections()
    return bp.DSRunner(net, monitors={"exc": net.E.spike, "V": net.I.V}, progress_bar=True)


def _run_einet_projections(runner: bp.DSRunner) -> Any:
    return runner.run(inputs=_bm.ones(100) * 20.0)


def _build_hh() -> bp.DSRunner:
    _seed()
    group = bp.neurons.HH(10, V_initializer=_bp.init.Uniform(-75.0, -60.0))
    return bp.DSRunner(
        group, inputs=("input", 12.0), monitors=["V", "m", "h", "n"], progress_bar=False
    )


def _build_izhikevich() -> bp.DSRunner:
    _seed()
    group = bp.neurons.Izhikevich(10, V_initializer=_bp.init.Uniform(-70.0, -50.0))
    return bp.DSRunner(
        group, inputs=("input", 12.0), monitors=["V", "u", "spike"], progress_bar=True
    )


class IonChannelGroup(eras.ConductanceBased):
    """Conductance-based neurons with sodium, potassium, leaky and calcium-bound channels."""

    def __init__(self, size: int) -> None:
        super().__init__(size, V_initializer=_bp.init.Uniform(-70.0, -60.0))
        self.INa = bp.channels.INa_HH1952(size)
        self.IK = bp.channels.IK_HH1952(size)
        self.IL = bp.channels.IL(size, E=-54.387, g_max=0.03)
        self.Ca = bp.channels.CalciumFirstOrder(size, ICaT=bp.channels.ICaT_HM1992(size))


class DrivenChannels(eras.DynamicalSystem):
    """The conductance-based neurons with a constant current."""

    def __init__(self, num: int = 5) -> None:
        super().__init__()
        self.neurons = IonChannelGroup(num)

    def update(self) -> Any:
        if eras.SINCE_2_4:
            self.neurons(6.0)
        else:
            self.neurons.input.value = bm.ones(self.neurons.num) * 6.0
            self.neurons()
        return self.neurons.V.value


def _build_channels() -> bp.DSRunner:
    _seed()
    return bp.DSRunner(
        DrivenChannels(),
        monitors=["neurons.V", "neurons.INa.p", "neurons.Ca.C"],
        progress_bar=False,
    )


# --------------------------------------------------------------------------------------
# Delays, plasticity and couplings
# --------------------------------------------------------------------------------------


class DelayedPair(eras.Group):
    """Two LIF groups and a delayed synapse, whose delay buffer is a Variable."""

    def __init__(self, num: int = 10) -> None:
        super().__init__()
        self.pre = bp.neurons.LIF(num, V_initializer=_bp.init.Uniform(0.0, 20.0))
        self.post = bp.neurons.LIF(num)
        self.syn = bp.synapses.Exponential(
            self.pre, self.post, bp.conn.All2All(), g_max=0.5, tau=8.0, delay_step=13
        )


def _build_delay() -> bp.DSRunner:
    _seed()
    return bp.DSRunner(
        DelayedPair(),
        inputs=("pre.input", 30.0),
        monitors=["pre.spike", "syn.g", "post.V"],
        progress_bar=False,
    )


class DelayedRing(eras.DynamicalSystem):
    """A ring of LIF neurons that receive their neighbours' potentials through a `VarDelay`."""

    def __init__(self, num: int = 10) -> None:
        super().__init__()
        self.lif = eras.LifRef(num, V_initializer=_bp.init.Uniform(-60.0, -50.0), **_CORTICAL)
        self.delay = bp.VarDelay(self.lif.V, entries={"near": 0.8, "far": 2.1})

    def update(self) -> Any:
        near = bm.roll(self.delay.at("near"), 1)
        far = bm.roll(self.delay.at("far"), 2)
        spike = self.lif(30.0 + 0.3 * (near - far))
        self.delay()
        return spike


def _build_var_delay() -> bp.DSRunner:
    _seed()
    return bp.DSRunner(DelayedRing(), monitors=["lif.V"], progress_bar=False)


class ShortTermPair(eras.Group):
    """Two LIF groups and a synapse with short-term plasticity."""

    def __init__(self, num: int = 10) -> None:
        super().__init__()
        self.pre = bp.neurons.LIF(num, V_initializer=_bp.init.Uniform(0.0, 20.0))
        self.post = bp.neurons.LIF(num)
        self.syn = bp.synapses.Exponential(
            self.pre,
            self.post,
            bp.conn.All2All(),
            g_max=0.5,
            stp=bp.synplast.STP(U=0.2, tau_d=150.0, tau_f=2.0),
        )


def _build_stp() -> bp.DSRunner:
    _seed()
    net = ShortTermPair()
    return bp.DSRunner(
        net,
        inputs=("pre.input", 40.0),
        monitors={"u": net.syn.stp.u, "x": net.syn.stp.x, "V": net.post.V},
        progress_bar=False,
    )


class STDPNet(eras.DynamicalSystem):
    """Two LIF groups whose connections learn by spike-timing-dependent plasticity."""

    def __init__(self, num: int = 10) -> None:
        super().__init__()
        start = _bp.init.Uniform(-60.0, -50.0)
        self.pre = eras.LifRef(num, V_initializer=start, **_CORTICAL)
        self.post = eras.LifRef(num, V_initializer=start, **_CORTICAL)
        self.syn = _bp.dyn.STDP_Song2000(
            pre=self.pre,
            delay=1.0,
            # The training mode makes the plastic weights a Variable. The connections are one to
            # one, because the rule for denser ones compiles a Numba kernel for seconds.
            comm=bp.dnn.OneToOne(num, _bp.init.Uniform(0.2, 0.5), mode=bm.TrainingMode()),
            syn=bp.dyn.Expon.desc(num, tau=5.0),
            out=bp.dyn.COBA.desc(E=0.0),
            post=self.post,
            tau_s=16.8,
            tau_t=33.7,
            A1=0.96,
            A2=0.53,
        )

    def update(self, drive_pre: Any, drive_post: Any) -> Any:
        self.syn()
        self.pre(drive_pre)
        self.post(drive_post)
        return {"pre": self.pre.spike.value, "post": self.post.spike.value}


def _build_stdp() -> bp.DSRunner:
    _seed()
    net = STDPNet()
    return bp.DSRunner(net, monitors={"weight": net.syn.comm.weight}, progress_bar=False)


def _run_stdp(runner: bp.DSRunner) -> Any:
    return runner.run(inputs=(_bm.linspace(20.0, 60.0, 200), _bm.linspace(60.0, 20.0, 200)))


class ElectricNet(eras.Group):
    """Hodgkin-Huxley neurons coupled by gap junctions."""

    def __init__(self, num: int = 5) -> None:
        super().__init__()
        self.neu = bp.neurons.HH(num, V_initializer=_bp.init.Uniform(-75.0, -60.0))
        self.syn = _bp.synapses.GapJunction(
            self.neu, self.neu, bp.conn.All2All(include_self=False), g_max=0.1
        )


def _build_gap_junction() -> bp.DSRunner:
    _seed()
    return bp.DSRunner(
        ElectricNet(), inputs=("neu.input", 10.0), monitors=["neu.V"], progress_bar=False
    )


# --------------------------------------------------------------------------------------
# Rate models
# --------------------------------------------------------------------------------------


def _build_fhn_rate() -> bp.DSRunner:
    _seed()
    return bp.DSRunner(
        bp.rates.FHN(10), inputs=("input", 0.72), monitors=["x", "y"], progress_bar=True
    )


class CoupledFHN(eras.Group):
    """Noisy FitzHugh-Nagumo units with a matrix of delays between them."""

    def __init__(self, num: int = 6) -> None:
        super().__init__()
        self.fhn = bp.rates.FHN(num, x_ou_sigma=0.05, y_ou_sigma=0.05)
        self.coupling = _bp.synapses.DiffusiveCoupling(
            self.fhn.x,
            self.fhn.x,
            var_to_output=self.fhn.input,
            conn_mat=bm.random.uniform(0.0, 0.2, (num, num)),
            delay_steps=_bm.as_jax(bm.random.randint(1, 20, (num, num))),
            initial_delay_data=_bp.init.Uniform(0.0, 0.05),
        )


def _build_delay_coupling() -> bp.DSRunner:
    _seed()
    return bp.DSRunner(
        CoupledFHN(), inputs=("fhn.input", 0.72), monitors=["fhn.x"], progress_bar=False
    )


# --------------------------------------------------------------------------------------
# Randomness
# --------------------------------------------------------------------------------------


class NoisyLIF(eras.DynamicalSystem):
    """A LIF group driven by white noise drawn at each step."""

    def __init__(self, num: int = 20) -> None:
        super().__init__()
        eras.hold_random_state(self)
        self.lif = eras.LifRef(num, V_initializer=_bp.init.Uniform(-60.0, -50.0), **_CORTICAL)

    def update(self) -> Any:
        noise = bm.random.normal(0.0, 30.0, (self.lif.num,))
        self.lif(12.0 + noise)
        return self.lif.spike.value


def _build_noise() -> bp.DSRunner:
    _seed()
    return bp.DSRunner(NoisyLIF(), monitors=["lif.V"], progress_bar=True)


class PoissonDriven(eras.DynamicalSystem):
    """A LIF group driven by a group of Poisson neurons."""

    def __init__(self, num: int = 10) -> None:
        super().__init__()
        self.source = bp.dyn.PoissonGroup(20, freqs=200.0)
        self.weights = bm.random.uniform(0.0, 40.0, (20, num))
        self.lif = eras.LifRef(num, V_initializer=_bp.init.Uniform(-60.0, -50.0), **_CORTICAL)

    def update(self) -> Any:
        spikes = self.source()
        return self.lif(spikes.astype(float) @ self.weights)


def _build_poisson() -> bp.DSRunner:
    _seed()
    return bp.DSRunner(PoissonDriven(), monitors=["source.spike", "lif.V"], progress_bar=False)


# --------------------------------------------------------------------------------------
# Layers and trainers
# --------------------------------------------------------------------------------------


def _build_reservoir() -> bp.DSRunner:
    _seed()
    layer = eras.rates.Reservoir(
        3, 20, in_connectivity=0.5, rec_connectivity=0.3, mode=bm.NonBatchingMode()
    )
    return bp.DSRunner(layer, monitors=["state"], progress_bar=False)


def _build_lstm_batched() -> bp.DSRunner:
    _seed()
    layer = eras.rates.LSTMCell(4, 8, mode=bm.BatchingMode(3))
    return bp.DSRunner(layer, monitors=["state"], progress_bar=False)


def _build_lstm_time_first() -> bp.DSRunner:
    _seed()
    layer = eras.rates.LSTMCell(4, 8, mode=bm.BatchingMode(3))
    return bp.DSRunner(layer, monitors=["state"], data_first_axis="T", progress_bar=True)


class EchoState(eras.DynamicalSystem):
    """A reservoir with a trained linear readout."""

    def __init__(self, num_in: int = 3, num_hidden: int = 20, num_out: int = 2) -> None:
        super().__init__(mode=bm.BatchingMode(2))
        self.reservoir = eras.rates.Reservoir(
            num_in, num_hidden, in_connectivity=0.5, mode=bm.BatchingMode(2)
        )
        self.readout = eras.layers.Dense(num_hidden, num_out, mode=bm.TrainingMode(2))

    def update(self, x: Any) -> Any:
        return self.readout(self.reservoir(x))


def _build_ridge() -> bp.DSRunner:
    _seed()
    net = EchoState()
    trainer: bp.DSRunner = _bp.RidgeTrainer(
        net, alpha=1e-3, monitors={"state": net.reservoir.state}, progress_bar=False
    )
    return trainer


class TinyRNN(eras.DynamicalSystem):
    """A recurrent network with trained weights, for back-propagation through time."""

    def __init__(self, num_in: int = 3, num_hidden: int = 8, num_out: int = 2) -> None:
        super().__init__(mode=bm.TrainingMode(2))
        self.cell = eras.rates.RNNCell(num_in, num_hidden, mode=bm.TrainingMode(2))
        self.weights = bm.TrainVar(bm.random.random((num_hidden, num_out)) * 0.1)

    def update(self, x: Any) -> Any:
        return self.cell(x) @ self.weights


def _build_bptt() -> bp.DSRunner:
    _seed()
    return bp.BPTT(
        TinyRNN(), loss_fun="mean_squared_error", monitors=["cell.state"], progress_bar=False
    )


class TinyPerceptron(eras.DynamicalSystem):
    """A feed-forward network with trained weights and no time axis."""

    def __init__(self, num_in: int = 3, num_hidden: int = 8, num_out: int = 2) -> None:
        super().__init__(mode=bm.TrainingMode(2))
        self.hidden = bm.TrainVar(bm.random.random((num_in, num_hidden)) * 0.1)
        self.out = bm.TrainVar(bm.random.random((num_hidden, num_out)) * 0.1)

    def update(self, x: Any) -> Any:
        return bm.tanh(x @ self.hidden) @ self.out

    def reset_state(self, *_: Any, **__: Any) -> None:
        """Do nothing: the model has no state. BrainPy 2.3 resets before each prediction."""


def _build_bpff() -> bp.DSRunner:
    _seed()
    return bp.BPFF(TinyPerceptron(), loss_fun="mean_squared_error", progress_bar=False)


# --------------------------------------------------------------------------------------
# Ways to run
# --------------------------------------------------------------------------------------


class RefractoryLIF(eras.DynamicalSystem):
    """A refractory LIF group with a constant drive; its update returns the spikes."""

    def __init__(self, num: int = 10, drive: float = 25.0) -> None:
        super().__init__()
        self.drive = drive
        self.lif = eras.LifRef(num, V_initializer=_bp.init.Uniform(-60.0, -50.0), **_CORTICAL)

    def update(self) -> Any:
        return self.lif(self.drive)


class SilentLIF(RefractoryLIF):
    """The same group; its update returns nothing."""

    def update(self) -> None:
        self.lif(self.drive)


def _memory_efficient(net: RefractoryLIF) -> bp.DSRunner:
    return bp.DSRunner(net, monitors=["lif.V"], memory_efficient=True, progress_bar=False)


def _build_memory_efficient() -> bp.DSRunner:
    _seed()
    return _memory_efficient(SilentLIF())


def _build_memory_efficient_outputs() -> bp.DSRunner:
    _seed()
    return _memory_efficient(RefractoryLIF())


def _build_python_loop() -> bp.DSRunner:
    _seed()
    return bp.DSRunner(RefractoryLIF(), monitors=["lif.V"], jit=False, progress_bar=False)


class MyRunner(bp.DSRunner):
    """A user's runner that adds the firing rates to the monitors of a run."""

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        spikes: Any = super().predict(*args, **kwargs)
        self.mon["rate"] = np.asarray(spikes).mean(axis=0) / (self.dt / 1000.0)
        return spikes


def _build_subclassed_runner() -> bp.DSRunner:
    _seed()
    return MyRunner(RefractoryLIF(), monitors=["lif.V"], progress_bar=False)


def _build_function_monitors() -> bp.DSRunner:
    _seed()
    net = RefractoryLIF()
    return bp.DSRunner(
        net,
        monitors={
            "mean": lambda *_: net.lif.V.mean(),
            "time": lambda *_: _load("t") * 2.0,
            "some": (net.lif.V, [1, 2]),
        },
        progress_bar=False,
    )


def _build_monitors_by_name() -> bp.DSRunner:
    _seed()
    return bp.DSRunner(RefractoryLIF(), monitors={"membrane": "lif.V"}, progress_bar=False)


class Accumulator(eras.DynamicalSystem):
    """A leaky accumulator whose gain is a shared argument."""

    def __init__(self, num: int = 4) -> None:
        super().__init__()
        self.total = bm.Variable(bm.random.rand(num))

    def update(self) -> Any:
        self.total.value = 0.9 * self.total + _load("gain") * _load("dt")
        return self.total.value


def _build_shared_args() -> bp.DSRunner:
    _seed()
    return bp.DSRunner(Accumulator(), monitors=["total"], progress_bar=False)


def _run_shared_args(runner: bp.DSRunner) -> Any:
    return runner.run(10.0, shared_args={"gain": 2.0})


class SharedFirst(bp.DynamicalSystem):
    """Leaky units in the style of BrainPy 2.3: update takes the shared arguments first."""

    def __init__(self, num: int = 4) -> None:
        super().__init__()
        self.total = bm.Variable(bm.random.rand(num))

    def update(self, shared: Any) -> Any:
        self.total.value = 0.9 * self.total + shared["t"] * shared["dt"]
        return self.total.value


def _build_shared_args_first() -> bp.DSRunner:
    _seed()
    return bp.DSRunner(SharedFirst(), monitors=["total"], progress_bar=False)


# --------------------------------------------------------------------------------------
# Ways to give inputs
# --------------------------------------------------------------------------------------


def _input_lif(num: int = 10) -> bp.neurons.LIF:
    return bp.neurons.LIF(num, V_initializer=_bp.init.Uniform(0.0, 20.0))


def _build_array_iter_input() -> bp.DSRunner:
    _seed()
    # One row for each step of three consecutive runs: the step index continues between runs.
    drive = np.random.uniform(0.0, 60.0, (300, 10)).astype(np.float32)
    return bp.DSRunner(
        _input_lif(), inputs=("input", drive, "iter"), monitors=["V", "spike"], progress_bar=False
    )


def _drive() -> Iterator[float]:
    """Yield a rising current forever."""
    current = 20.0
    while True:
        yield current
        current += 0.5


def _build_generator_input() -> bp.DSRunner:
    _seed()
    return bp.DSRunner(
        _input_lif(),
        inputs=("input", _drive(), "iter"),
        monitors=["V"],
        jit=False,
        progress_bar=False,
    )


def _build_functional_input() -> bp.DSRunner:
    _seed()
    return bp.DSRunner(
        _input_lif(),
        inputs=[
            ("input", lambda *_: 30.0 + 10.0 * _bm.sin(_load("t")), "func"),
            ("input", 1.5, "fix", "*"),
        ],
        monitors=["V", "input"],
        progress_bar=False,
    )


def _build_callable_input() -> bp.DSRunner:
    _seed()
    group = _input_lif()

    def add_current(*_: Any) -> None:
        group.input += 30.0 + 10.0 * _bm.cos(_load("t"))

    return bp.DSRunner(group, inputs=add_current, monitors=["V", "input"], progress_bar=False)


# --------------------------------------------------------------------------------------
# What a model may contain
# --------------------------------------------------------------------------------------


class NumpyWeights(eras.DynamicalSystem):
    """A rate network whose weights are NumPy arrays, which become constants of the program."""

    def __init__(self, num: int = 12) -> None:
        super().__init__()
        self.weights = np.random.normal(0.0, 1.0 / np.sqrt(num), (num, num)).astype(np.float32)
        self.bias = np.linspace(-0.5, 0.5, num, dtype=np.float32)
        self.rate = bm.Variable(bm.random.rand(num))

    def update(self) -> Any:
        drive = _bm.as_jax(self.rate) @ self.weights + self.bias
        self.rate.value = 0.9 * self.rate + 0.1 * bm.tanh(drive)
        return self.rate.value


def _build_numpy_weights() -> bp.DSRunner:
    _seed()
    return bp.DSRunner(NumpyWeights(), monitors=["rate"], progress_bar=True)


class SharedArray(eras.DynamicalSystem):
    """Two Variables that start from one array object and then diverge."""

    def __init__(self, num: int = 8) -> None:
        super().__init__()
        start = _bm.as_jax(bm.random.rand(num))
        self.fast = bm.Variable(start)
        self.slow = bm.Variable(start)

    def update(self) -> Any:
        self.fast.value = 0.8 * self.fast
        self.slow.value = 0.98 * self.slow + 0.01 * self.fast
        return self.fast - self.slow


def _build_shared_array() -> bp.DSRunner:
    _seed()
    return bp.DSRunner(SharedArray(), monitors=["fast", "slow"], progress_bar=False)


_CASES: tuple[Case, ...] = (
    Case("lif", _build_lif, _for(10.0)),
    Case("einet", _build_einet, _for(10.0)),
    Case("einet-coba", _build_einet_coba, _for(10.0)),
    Case("einet-projections", _build_einet_projections, _run_einet_projections),
    Case("hh", _build_hh, _for(10.0)),
    Case("izhikevich", _build_izhikevich, _for(10.0)),
    Case("channels", _build_channels, _for(10.0)),
    Case("delay", _build_delay, _for(10.0)),
    Case("var-delay", _build_var_delay, _for(10.0)),
    Case("stp", _build_stp, _for(10.0)),
    Case("stdp", _build_stdp, _run_stdp),
    Case("gap-junction", _build_gap_junction, _for(10.0)),
    Case("fhn-rate", _build_fhn_rate, _for(10.0)),
    Case("noise", _build_noise, _for(10.0)),
    Case("poisson", _build_poisson, _for(10.0)),
    Case("reservoir", _build_reservoir, _with_inputs(60, 3)),
    Case("lstm-batched", _build_lstm_batched, _with_jax_inputs(3, 50, 4)),
    Case("lstm-time-first", _build_lstm_time_first, _with_jax_inputs(50, 3, 4)),
    Case("ridge-trainer-predict", _build_ridge, _with_jax_inputs(2, 50, 3)),
    Case("bptt-trainer-predict", _build_bptt, _with_jax_inputs(2, 50, 3)),
    Case("bpff-trainer-predict", _build_bpff, _with_inputs(2, 3), stepwise=True),
    Case("memory-efficient", _build_memory_efficient, _for(5.0), stepwise=True),
    Case("memory-efficient-outputs", _build_memory_efficient_outputs, _for(5.0), stepwise=True),
    Case("python-loop", _build_python_loop, _for(2.0), stepwise=True),
    Case("subclassed-runner", _build_subclassed_runner, _for(20.0)),
    Case("function-monitors", _build_function_monitors, _for(10.0)),
    Case("monitors-by-name", _build_monitors_by_name, _for(10.0)),
    Case("shared-args", _build_shared_args, _run_shared_args),
    Case("shared-args-first", _build_shared_args_first, _for(10.0)),
    Case("array-iter-input", _build_array_iter_input, _for(10.0)),
    Case("generator-input", _build_generator_input, _for(2.0), stepwise=True),
    Case("functional-input", _build_functional_input, _for(10.0)),
    Case("callable-input", _build_callable_input, _for(10.0)),
    Case("numpy-weights", _build_numpy_weights, _for(10.0)),
    Case("shared-array", _build_shared_array, _for(10.0)),
    Case("delay-coupling", _build_delay_coupling, _for(10.0)),
)

# Version limits: whether the installed BrainPy can run the case, the case, the reason.
_LIMITS: tuple[tuple[bool, str, str], ...] = (
    (not eras.SINCE_2_7, "einet-coba", "2.7 removed brainpy.dyn.ExpCOBA"),
    (eras.SINCE_2_4, "einet-projections", "brainpy.dyn.ProjAlignPostMg2 came with 2.4"),
    (eras.SINCE_2_4, "var-delay", "brainpy.VarDelay came with 2.4"),
    (eras.SINCE_2_4, "stdp", "brainpy.dyn.STDP_Song2000 came with 2.4"),
    (
        eras.SINCE_2_7,
        "memory-efficient-outputs",
        "up to 2.6 BrainPy fails on the outputs: it calls append() on an array",
    ),
    (
        eras.SINCE_2_7,
        "monitors-by-name",
        "up to 2.6 BrainPy fails on a string in a dict of monitors: it reads its .value",
    ),
)

# The cases that the installed BrainPy cannot run, each with the reason.
ABSENT: dict[str, str] = {case: reason for supported, case, reason in _LIMITS if not supported}

# Cases that are not fully reproducible: each build gives the same values, but under other names.
# BrainPy puts into these names the id of an object (the delayed one), or the number of objects of
# the class that the process has created (children without a name).
_UNSTABLE = frozenset({"delay-coupling", "einet-coba"} | (set() if eras.SINCE_2_4 else {"delay"}))

# Cases whose builds differ in the last bit of their floats: XLA gets another program in each build,
# so that LLVM contracts another product to a fused multiply-add (seen: 1.2e-7 in 2 of 6 builds on
# 2.4.6, 5e-8 in 2 of 30 on 2.6.0).
ROUNDED: frozenset[str] = frozenset({"delay-coupling"} if eras.ORDERS_BY_IDS else ())

NETWORKS: tuple[Case, ...] = tuple(
    case for case in _CASES if case.name not in _UNSTABLE and case.name not in ABSENT
)
UNSTABLE_NAMES: tuple[Case, ...] = tuple(
    case for case in _CASES if case.name in _UNSTABLE and case.name not in ABSENT
)


def by_name(name: str) -> Case:
    """Return the case called `name`, whether or not the installed BrainPy can run it.

    Parameters
    ----------
    name : str
        The kebab-case name of the case.

    Returns
    -------
    Case
        The case.

    Raises
    ------
    KeyError
        If there is no such case.
    """
    for case in _CASES:
        if case.name == name:
            return case
    raise KeyError(name)


def compiling_runners(name: str, runs: int) -> list[bp.DSRunner]:
    """Return a runner for each of `runs` runs of a case, so that each run compiles its loop."""
    case = by_name(name)
    if eras.COMPILES_EACH_RUN:
        return [case.build()] * runs
    return [case.build() for _ in range(runs)]
