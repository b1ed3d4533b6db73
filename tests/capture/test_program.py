"""The program is closed, complete and named, and computes the values of the run."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import brainpy as bp
import brainpy.math as bm
import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import pytest
import xxhash

import brainpy_probe as probe
from brainpy_probe.compat import bindings
from tests import eras, watching
from tests.eras import DynamicalSystem, LifRef
from tests.networks import (
    NETWORKS,
    SEED,
    UNSTABLE_NAMES,
    Accumulator,
    Case,
    EINet,
    NoisyLIF,
    RefractoryLIF,
)
from tests.replaying import (
    DIALECTS,
    Array,
    CapturedNetwork,
    Replayer,
    captured,
    hlo_of,
    inlined_constants,
    qualified_names,
    replay,
    values_of_run,
)

CASES = NETWORKS + UNSTABLE_NAMES
LOOPS = [case.name for case in CASES if not case.stepwise]
STEPS = [case.name for case in CASES if case.stepwise]
ALL = [*LOOPS, *STEPS]
TIMED_STEPS = [name for name in STEPS if name != "bpff-trainer-predict"]

# XLA runs all fusions of such a small loop as one function. The program also computes the time of
# each step, which the model does not read. Therefore XLA schedules the fusion of `slow` before that
# of `fast`, and LLVM no longer keeps the product `0.8 * fast` for the output: it contracts
# `0.8 * fast - slow` to one fused multiply-add, which rounds once where the native run rounds
# twice. State and monitors are equal.
ROUNDED = {"shared-array": {"outputs/outputs"}}

# Cases in which BrainPy's names of some Variables contain sentences, containers and counters. The
# probe gives them other names.
RENAMED = {"einet-projections", "stdp", "delay-coupling", "delay"}
RENAMED |= {"channels"} if eras.SINCE_2_4 else set()
RENAMED |= set() if eras.SINCE_2_7 else {"einet-coba"}


def seeded(make: Callable[[], Any], **options: Any) -> bp.DSRunner:
    """Build a model with the same random numbers each time, and its runner."""
    bm.random.seed(SEED)
    np.random.seed(SEED)
    model = eras.without_outputs(make()) if options.get("memory_efficient") else make()
    return bp.DSRunner(model, **{"progress_bar": False, **options})


def assert_same(actual: Array, expected: Array, name: str = "") -> None:
    """Assert that two arrays are equal bit for bit."""
    assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape), name
    assert actual.tobytes() == expected.tobytes(), name


def at_step(number: int) -> dict[str, Array]:
    """Return the time inputs of a step's program: the step index, and on BrainPy 2.3 the time."""
    inputs: dict[str, Array] = {"inputs/i": np.int32(number)}
    return inputs if eras.SINCE_2_4 else inputs | {"inputs/t": np.float32(number * 0.1)}


# --- Values -----------------------------------------------------------------------------------


# The cases whose text is compiled in each dialect. Of the others, the texts give XLA equal HLO.
IN_EACH_DIALECT = ("lif", "einet", "delay", "array-iter-input")


@pytest.mark.parametrize("name", LOOPS)
def test_a_compiled_program_gives_the_values_of_the_run(name: str) -> None:
    """The program compiled from its text gives the recorded results, which are those of the run."""
    network = captured(name)
    program, recorded = network.program, network.program.data("results")
    assert list(recorded) == qualified_names(program.results)
    for dialect in DIALECTS if name in IN_EACH_DIALECT else DIALECTS[:1]:
        results = replay(program, dialect)
        assert list(results) == list(recorded)
        for key, value in recorded.items():
            if key in ROUNDED.get(name, ()):
                assert value.dtype.kind == "f"
                np.testing.assert_allclose(results[key], value, rtol=1e-6, err_msg=key)
            else:
                assert_same(results[key], value, key)
    assert len({hlo_of(program, dialect) for dialect in DIALECTS}) == 1

    outputs = [value for key, value in recorded.items() if key.startswith("outputs/")]
    for recorded_output, output in zip(outputs, network.outputs, strict=True):
        assert_same(recorded_output, output)
    for key, value in recorded.items():
        group, _, plain = key.partition("/")
        if group == "monitors":
            assert_same(value, network.monitors[plain], key)
    assert_final_state(name, network, {k: v for k, v in recorded.items() if k.startswith("state/")})

    arrays = {f"in/{key}": value for key, value in program.data().items()}
    arrays |= {f"out/{key}": value for key, value in recorded.items()}
    assert network.call.digests == {
        key: xxhash.xxh3_128_hexdigest(value.tobytes()) for key, value in arrays.items()
    }


def assert_final_state(name: str, network: CapturedNetwork, state: dict[str, Array]) -> None:
    """Assert that a state has the values of the Variables after the run."""
    variables = dict(network.variables)
    renamed = []
    for key, value in state.items():
        plain = key.removeprefix("state/")
        if plain == "random":
            assert_same(value, network.random, key)
        elif plain in variables:
            assert_same(value, variables.pop(plain), key)
        else:
            renamed.append(value.tobytes())
    assert sorted(renamed) == sorted(value.tobytes() for value in variables.values())
    assert bool(renamed) == (name in RENAMED)


def test_digests_suffice_to_check_a_replay(out: Path) -> None:
    runner = seeded(NoisyLIF, monitors=["lif.V"])
    with probe.capture(out, strict=True) as cap:
        runner.run(5.0)
    results = replay(cap.programs[0], "stablehlo")
    digests = {k: v for k, v in cap.calls[0].digests.items() if k.startswith("out/")}
    assert digests == {
        f"out/{key}": xxhash.xxh3_128_hexdigest(value.tobytes()) for key, value in results.items()
    }
    assert "results" not in cap.programs[0].paths


@pytest.mark.parametrize("name", TIMED_STEPS)
def test_an_iterated_step_program_gives_the_values_of_the_run(name: str) -> None:
    network = captured(name)
    program = network.program
    assert len({hlo_of(program, dialect) for dialect in DIALECTS}) == 1
    step, arrays = Replayer(program, "stablehlo"), program.data()
    results: list[dict[str, Array]] = []
    for i in range(network.call.steps or 0):
        arrays |= at_step(i)
        if name == "generator-input":
            arrays["inputs/iterated.0"] = np.float32(20.0 + 0.5 * i)
        results.append(step(arrays))
        arrays |= {key: value for key, value in results[-1].items() if key in arrays}
    assert results
    assert len(network.outputs) == (name != "memory-efficient")
    for outputs in network.outputs:
        assert_close(np.stack([result["outputs/outputs"] for result in results]), outputs)
    monitored = [spec.name for spec in program.results if spec.role == "monitor"]
    assert monitored
    for key in monitored:
        assert_close(
            np.stack([result[f"monitors/{key}"] for result in results]), network.monitors[key]
        )
    for key, value in network.variables.items():
        assert_close(arrays[f"state/{key}"], value)


def assert_close(actual: Array, expected: Array) -> None:
    """Assert that floats are equal within rounding, and other values exactly."""
    assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape)
    if actual.dtype.kind == "f":
        np.testing.assert_allclose(actual, expected, rtol=1e-5)
    else:
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("options", [{"memory_efficient": True}, {"jit": False}], ids=str)
def test_a_step_program_has_the_random_state(options: dict[str, Any], out: Path) -> None:
    runner = seeded(NoisyLIF, monitors=["lif.V"], **options)
    with probe.capture(out, trace_eager=True, strict=True) as cap:
        returned = runner.run(1.0)
    (program,) = cap.programs
    step, arrays = Replayer(program, "stablehlo"), program.data()
    for i in range(10):
        arrays |= at_step(i)
        arrays |= {key: value for key, value in step(arrays).items() if key in arrays}
    _, _, variables = values_of_run(runner, returned)
    for key, value in variables.items():
        assert_close(arrays[f"state/{key}"], value)
    assert_same(arrays["state/random"], watching.as_numpy(bm.random.DEFAULT.value))


def test_the_step_of_a_model_without_time_is_the_whole_run() -> None:
    network = captured("bpff-trainer-predict")
    results = replay(network.program, "stablehlo")
    assert len({hlo_of(network.program, dialect) for dialect in DIALECTS}) == 1
    assert_close(results["outputs/outputs"], network.outputs[0])
    for key, value in network.variables.items():
        assert_same(results[f"state/{key}"], value, key)


# --- Arguments and results --------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_all_arguments_and_results_are_named(name: str) -> None:
    network = captured(name)
    program = network.program
    before = [spec for spec in program.arguments if spec.role == "state"]
    after = [spec for spec in program.results if spec.role == "state"]
    assert list(map(without_value, before)) == list(map(without_value, after))
    names = {spec.name for spec in before} - {"random"}
    assert len(names) == len(network.variables)
    if name not in RENAMED:
        assert names == set(network.variables)
    assert all(re.fullmatch(r"\w+(\.\w+)*", name) for name in names)

    (line,) = [line for line in program.text("stablehlo").splitlines() if "@main(" in line]
    arguments, results = line.split(") -> (")
    entry = r'tensor<([^>]*)> \{[^}]*jax\.{}_info = "([^"]*)"[^}}]*\}'
    for kind, signature, specs in (
        ("arg", arguments, program.arguments),
        ("result", results, program.results),
    ):
        found = re.findall(entry.replace("{}", kind).replace("}}", "}"), signature)
        assert found == [(mlir_type(spec), signature_path(spec)) for spec in specs]
        assert signature.count("tensor<") == len(specs)

    layout = re.search(r"entry_computation_layout=\{\((.*)\)->\((.*?)\)\}", program.text("hlo"))
    assert layout is not None
    for found_types, specs in zip(
        layout.groups(), (program.arguments, program.results), strict=True
    ):
        shapes = re.findall(r"(\w+)\[([\d,]*)\]", found_types)
        assert shapes == [(hlo_type(spec), ",".join(map(str, spec.shape))) for spec in specs]


@pytest.mark.parametrize("name", ALL)
def test_texts_have_the_model_name_and_elide_no_constant(name: str) -> None:
    network = captured(name)
    program, model = network.program, network.call.model
    assert program.name == model
    for dialect in DIALECTS:
        text = program.text(dialect)
        begin = "HloModule " if dialect == "hlo" else "module @"
        assert re.match(rf"{begin}{model}\b", text)
        assert "dense_resource" not in text
        assert "..." not in text
    assert program.fidelity.inlined_constants == ()


def without_value(spec: probe.TensorSpec) -> probe.TensorSpec:
    """Return the spec of an argument or result without its recorded value."""
    return msgspec.structs.replace(spec, digest="", file="", entry="")


@pytest.mark.parametrize("name", ["noise", "poisson"])
def test_the_random_state_is_an_argument_and_a_result(name: str) -> None:
    program = captured(name).program
    # A PoissonGroup of BrainPy 2.3 has its own random state.
    held = "source.rng" if name == "poisson" and not eras.SINCE_2_4 else "random"
    for specs in (program.arguments, program.results):
        (random,) = [spec for spec in specs if spec.name == held]
        assert (random.role, random.shape, random.dtype) == ("state", (2,), "uint32")
        assert random.key == ("key<fry>" if eras.SINCE_2_7 else "")
    before, after = program.data()[f"state/{held}"], program.data("results")[f"state/{held}"]
    assert before.tobytes() != after.tobytes()


def test_connectivity_is_a_named_argument() -> None:
    parts = ("comm.indices", "comm.indptr") if eras.SINCE_2_4 else ("conn_mask.0", "conn_mask.1")
    constants = [spec for spec in captured("einet").program.arguments if spec.role == "constant"]
    # On BrainPy 2.3, scalars that the model holds as arrays are constants too.
    names_with_path = [spec.name for spec in constants if "." in spec.name]
    assert (len(names_with_path) == len(constants)) >= eras.SINCE_2_4
    assert names_with_path == [
        f"{synapse}.{part}" for synapse in ("E2E", "E2I", "I2E", "I2I") for part in parts
    ]


def signature_path(spec: probe.TensorSpec) -> str:
    """Return the path of an argument or result in the program's signature."""
    return f"{spec.role if spec.role == 'state' else spec.role + 's'}['{spec.name}']"


def mlir_type(spec: probe.TensorSpec) -> str:
    """Return the shape and element type of an MLIR tensor type."""
    element = {"bool": "i1", "uint32": "ui32"}.get(
        spec.dtype, spec.dtype.replace("float", "f").replace("int", "i")
    )
    return "x".join([*map(str, spec.shape), element])


def hlo_type(spec: probe.TensorSpec) -> str:
    """Return the HLO name of an element type."""
    element = {"bool": "pred", "uint32": "u32"}
    return element.get(spec.dtype, spec.dtype.replace("float", "f").replace("int", "s"))


class Collected(DynamicalSystem):
    """A model that keeps its Variables in a BrainPy container."""

    def __init__(self, container: Any) -> None:
        super().__init__()
        self.held = container
        if not eras.SINCE_2_4:
            self.register_implicit_vars(container)

    def update(self) -> None:
        for variable in getattr(self.held, "values", lambda: self.held)():
            variable.value = variable + 1.0


@pytest.mark.parametrize("kind", ["dict", "list"])
def test_variables_in_containers_are_named(kind: str, out: Path) -> None:
    def make() -> Any:
        a, b = bm.Variable(bm.zeros(2)), bm.Variable(bm.ones(3))
        if kind == "dict":
            return Collected(eras.var_dict({"a": a, "b": b}))
        return Collected(eras.var_list([a, b]))

    with probe.capture(out, strict=True) as cap:
        seeded(make).run(0.3)
    names = [spec.name for spec in cap.programs[0].arguments if spec.role == "state"]
    assert names == (["held.a", "held.b"] if kind == "dict" else ["held.0", "held.1"])


class UnusedValues(DynamicalSystem):
    """A model that reads a Variable and an array without using their values."""

    def __init__(self) -> None:
        super().__init__()
        self.used = bm.Variable(bm.zeros(3))
        self.ignored = bm.Variable(bm.ones(5))
        self.table = jnp.arange(7.0)

    def update(self) -> Any:
        self.ignored.value + 1.0
        jnp.sin(self.table)
        self.used.value = self.used + 1.0
        return self.used.value


def test_unused_arguments_are_kept(out: Path) -> None:
    with probe.capture(out, dialect=DIALECTS, strict=True) as cap:
        seeded(UnusedValues).run(1.0)
    (program,) = cap.programs
    assert qualified_names(program.arguments) == [
        "constants/table",
        "state/ignored",
        "state/used",
        "inputs/indices",
        *([] if eras.SINCE_2_4 else ["inputs/times"]),
    ]
    assert qualified_names(program.results) == ["outputs/outputs", "state/ignored", "state/used"]
    assert program.text("hlo").count(" parameter(") >= 4
    np.testing.assert_array_equal(replay(program, "hlo")["state/ignored"], np.ones(5))


# --- Text -------------------------------------------------------------------------------------


def test_the_text_does_not_grow_with_the_network(out: Path) -> None:
    inputs, monitors = [("E.input", 20.0), ("I.input", 20.0)], ["E.spike", "I.spike"]
    with probe.capture(out, dialect=DIALECTS, data="none", strict=True) as cap:
        seeded(lambda: EINet(640, 160), inputs=inputs, monitors=monitors).run(10.0)
    small, (large,) = captured("einet").program, cap.programs
    for dialect in DIALECTS:
        # The shapes have more digits.
        assert len(large.text(dialect)) < 1.1 * len(small.text(dialect))
    sizes = [sum(spec.nbytes for spec in program.arguments) for program in (small, large)]
    assert sizes[1] > 100 * sizes[0]


@pytest.mark.parametrize("make", [EINet, NoisyLIF, RefractoryLIF])
def test_the_progress_bar_is_not_in_the_program(make: Callable[[], Any], out: Path) -> None:
    with probe.capture(out, dialect=DIALECTS, strict=True) as cap:
        for progress_bar in (True, False):
            seeded(make, progress_bar=progress_bar).run(3.0)
    # Up to 2.6 numba numbers the kernels of each model.
    texts = {re.sub(r"@cfunc\.\w+", "@cfunc", program.text()) for program in cap.programs}
    # BrainPy 2.4 to 2.6 order the Variables of a loop by address.
    assert len(texts) == 1 or eras.ORDERS_BY_IDS
    for program in cap.programs:
        assert program.fidelity.host_callbacks == ()
        assert "callback" not in program.text()
    # One text but two programs: the run with the progress bar may have other bits than its program.
    assert [program.fidelity.removed for program in cap.programs] == [("progress bar",), ()]


class Lookup(DynamicalSystem):
    """A model that uses a NumPy array only in a function that a JAX transform takes."""

    def __init__(self, transform: Callable[[Any], Any]) -> None:
        super().__init__()
        self.weights = np.random.normal(0.0, 0.1, (64, 64)).astype(np.float32)
        self.rate = bm.Variable(bm.random.rand(64))
        self.transform = transform

    def update(self) -> Any:
        multiply = self.transform(lambda x: jnp.tanh(x @ jnp.asarray(self.weights)))
        self.rate.value = multiply(bm.as_jax(self.rate))
        return self.rate.value


def _scanned(function: Any) -> Any:
    return lambda x: jax.lax.scan(lambda c, _: (function(c), None), x, None, length=2)[0]


def _conditional(function: Any) -> Any:
    return lambda x: jax.lax.cond(x.sum() > 0.0, function, lambda y: -y, x)


def _looped(function: Any) -> Any:
    return lambda x: jax.lax.fori_loop(0, 2, lambda _, y: function(y), x)


def _while(function: Any) -> Any:
    return lambda x: jax.lax.while_loop(lambda y: y.sum() > 1.0, lambda y: function(y) * 0.5, x)


def _mapped(function: Any) -> Any:
    return lambda x: jax.vmap(function)(x[None])[0]


def _with_jvp(function: Any) -> Any:
    wrapped = jax.custom_jvp(function)
    wrapped.defjvp(lambda primals, tangents: (function(*primals), *tangents))
    return wrapped


def _with_vjp(function: Any) -> Any:
    wrapped = jax.custom_vjp(function)
    wrapped.defvjp(lambda x: (function(x), None), lambda _, g: (g,))
    return wrapped


TRANSFORMS: dict[str, Callable[[Any], Any]] = {
    "scan": _scanned,
    "cond": _conditional,
    "fori": _looped,
    "while": _while,
    "vmap": _mapped,
    "remat": jax.checkpoint,
    "custom-jvp": _with_jvp,
    "custom-vjp": _with_vjp,
}

# Up to JAX 0.4, functions that are jitted in the loop have their arrays as constants.
JITTED: dict[str, Callable[[Any], Any]] = {
    "jit": jax.jit,
    "jit in jit": lambda f: jax.jit(jax.jit(f)),
    "jitted cond": lambda f: jax.jit(_conditional(f)),
    "jitted while": lambda f: jax.jit(_while(f)),
}


@pytest.mark.parametrize("name", [*TRANSFORMS, *JITTED])
def test_an_array_in_a_transform_is_a_named_argument(name: str, out: Path) -> None:
    runner = seeded(lambda: Lookup({**TRANSFORMS, **JITTED}[name]))
    with probe.capture(out, dialect=DIALECTS, data="full", strict=True) as cap:
        runner.run(1.0)
    (program,) = cap.programs
    assert "constants/weights" in qualified_names(program.arguments)
    assert program.fidelity.inlined_constants == ()
    assert_same(program.data()["constants/weights"], runner.target.weights)
    inlined = not eras.SINCE_2_4 or (name in JITTED and not eras.SINCE_2_7)
    assert len({hlo_of(program, dialect) for dialect in DIALECTS}) == 1
    recorded = program.data("results")
    for key, value in replay(program, "stablehlo", inlined=inlined).items():
        # XLA sums a product with a constant in another order than one with an argument, and
        # BrainPy 2.6 orders the loop's Variables differently in each build (2.1e-7 seen).
        np.testing.assert_allclose(value, recorded[key], rtol=1e-6, atol=1e-6)


# --- Ways to run ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lstm-batched", "bptt-trainer-predict"])
def test_batches_are_the_first_axis_as_in_run(name: str) -> None:
    network = captured(name)
    (outputs,) = network.outputs
    (spec,) = [spec for spec in network.program.results if spec.role == "output"]
    assert spec.shape == outputs.shape
    assert spec.shape[1] == network.call.steps == 50
    for spec in network.program.results:
        if spec.role == "monitor":
            assert spec.shape == network.monitors[spec.name].shape


def test_each_duration_has_one_program(out: Path) -> None:
    runner = seeded(RefractoryLIF, monitors=["lif.V"])
    with probe.capture(out, strict=True) as cap:
        for duration in (2.0, 4.0, 2.0):
            runner.run(duration)
    short, long = cap.programs
    assert [call.program for call in cap.calls] == [short, long, short]
    assert [call.steps for call in cap.calls] == [20, 40, 20]
    assert [call.record.i0 for call in cap.calls] == [0, 20, 60]
    assert short.fingerprint != long.fingerprint
    assert cap.text == short.text()
    two_calls = msgspec.structs.replace(cap.manifest, calls=cap.manifest.calls[:2])
    assert probe.Capture(cap.path, two_calls).text == long.text()
    digests = [call.digests for call in cap.calls]
    assert digests[0]["in/state/lif.V"] != digests[2]["in/state/lif.V"]


def call_times(indices: Array) -> Array:
    """Return the times of a call that continues an earlier one, as BrainPy 2.3 computes them."""
    return ((indices - indices[0]) * 0.1 + indices[0] * 0.1).astype(np.float32)


def test_a_program_computes_later_runs_from_their_state(out: Path) -> None:
    """The first run's program computes the third run from the state after the second."""
    runner = seeded(NoisyLIF, monitors=["lif.V"])
    with probe.capture(out, data="full", strict=True) as cap:
        for _ in range(3):
            runner.run(2.0)
    (program,) = cap.programs
    run, arrays = Replayer(program, "stablehlo", inlined_constants(program)), program.data()
    for call in cap.calls:
        results = run(arrays)
        for key, value in results.items():
            assert call.digests[f"out/{key}"] == xxhash.xxh3_128_hexdigest(value.tobytes())
        arrays |= {key: value for key, value in results.items() if key in arrays}
        arrays["inputs/indices"] = arrays["inputs/indices"] + 20
        if not eras.SINCE_2_4:
            arrays["inputs/times"] = call_times(arrays["inputs/indices"])


def test_monitors_can_have_indices(out: Path) -> None:
    runner = seeded(RefractoryLIF, monitors=[("lif.V", [0, 3]), "lif.spike"])
    with probe.capture(out, data="full", strict=True) as cap:
        returned = runner.run(3.0)
    (program,) = cap.programs
    _, monitors, _ = values_of_run(runner, returned)
    recorded = program.data("results")
    assert recorded["monitors/lif.V"].shape == (30, 2)
    for name in ("lif.V", "lif.spike"):
        assert_same(recorded[f"monitors/{name}"], monitors[name])
    assert_same(replay(program, "stablehlo")["monitors/lif.V"], monitors["lif.V"])


@pytest.mark.parametrize("memory_efficient", [False, True])
def test_shared_arguments_are_in_the_program(memory_efficient: bool, out: Path) -> None:
    runner = seeded(Accumulator, memory_efficient=memory_efficient)
    with probe.capture(out, data="full", strict=True) as cap:
        for gain in (2.0, 3.0, 2.0):
            start = np.array(runner.target.total.value)
            runner.run(0.1, shared_args={"gain": gain})
            program = cap.calls[-1].program
            assert program is not None
            arrays = program.data()
            arrays["state/total"] = start
            if "inputs/shared_args.gain" in arrays:
                arrays["inputs/shared_args.gain"] = np.float32(gain)
            total = Replayer(program, "stablehlo")(arrays)["state/total"]
            np.testing.assert_allclose(total, np.array(runner.target.total.value), rtol=1e-6)
    assert cap.calls[0].program == cap.calls[2].program


@pytest.mark.parametrize("options", [{}, {"jit": False}, {"memory_efficient": True}], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_numpy_inputs_are_recorded_with_the_programs_dtype(
    options: dict[str, Any], dtype: str, out: Path
) -> None:
    runner = seeded(lambda: LifRef(4), **options)
    inputs = np.linspace(0.0, 40.0, 12).reshape(3, 4).astype(dtype)
    with probe.capture(out, data="full", trace_eager=True, strict=True) as cap:
        runner.run(inputs=inputs)
    (program,) = cap.programs
    recorded = program.data()["inputs/inputs"]
    expected = inputs[0] if program.kind == "step" else inputs
    np.testing.assert_array_equal(recorded, expected.astype(recorded.dtype))
    assert set(replay(program, "stablehlo")) == set(qualified_names(program.results))


def test_an_iterated_input_array_is_a_named_argument() -> None:
    program = captured("array-iter-input").program
    constants = [spec for spec in program.arguments if spec.role == "constant"]
    (constant,) = [spec for spec in constants if spec.shape == (300, 10)]
    assert constant.name.startswith("runner.")


def test_an_item_of_a_generator_is_an_input_of_the_step() -> None:
    program = captured("generator-input").program
    inputs = [spec.name for spec in program.arguments if spec.role == "input"]
    assert inputs == ["i", "iterated.0", *([] if eras.SINCE_2_4 else ["t"])]
    assert program.data()["inputs/iterated.0"] == 20.0


# --- Callbacks of the user --------------------------------------------------------------------


class CallingBack(DynamicalSystem):
    """A model that calls back into Python at each step."""

    def __init__(self, seen: list[float], ordered: bool = False) -> None:
        super().__init__()
        self.seen, self.ordered = seen, ordered
        self.x = bm.Variable(bm.zeros(2))

    def update(self) -> Any:
        self.x.value = self.x + 1.0
        append = self.seen.append
        jax.debug.callback(lambda x: append(float(x)), self.x.value[0], ordered=self.ordered)
        return self.x.value


@pytest.mark.parametrize("options", [{}, {"memory_efficient": True}, {"jit": False}], ids=str)
@pytest.mark.parametrize("progress_bar", [False, True])
@pytest.mark.parametrize("ordered", [False, True])
def test_a_callback_of_the_model_runs_once_per_step(
    options: dict[str, Any], progress_bar: bool, ordered: bool, out: Path
) -> None:
    seen: list[float] = []
    runner = seeded(lambda: CallingBack(seen, ordered), progress_bar=progress_bar, **options)
    with probe.capture(out, dialect=DIALECTS, trace_eager=True, strict=True) as cap:
        runner.run(1.0)
        jax.effects_barrier()
    assert sorted(seen) == [float(step) for step in range(1, 11)]
    (program,) = cap.programs
    assert program.fidelity.host_callbacks
    assert not program.fidelity.custom_calls
    assert len(re.findall(r"custom_call @\w*callback", program.text("stablehlo"))) == 1
    assert program.arguments[0].role == ("token" if ordered else "state")
    assert program.fidelity.proved, program.fidelity


def test_a_dialect_that_fails_keeps_the_other_dialects(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown pass name makes the conversion to MHLO fail."""
    run_passes = bindings.run_passes

    def without_mhlo_pass(module: Any, pipeline: str) -> None:
        run_passes(module, pipeline.replace("stablehlo-legalize-to-hlo", "stablehlo-to-nowhere"))

    monkeypatch.setattr(bindings, "run_passes", without_mhlo_pass)
    runner = seeded(lambda: CallingBack([], ordered=True))
    with probe.capture(out, dialect=DIALECTS) as cap:
        runner.run(0.5)
    (program,) = cap.programs
    assert program.text("stablehlo")
    assert program.text("hlo")
    assert "mhlo" not in program.dialects
    assert not program.fidelity.checks["mhlo"].parsed
    assert program.fidelity.checks["mhlo"].detail
    assert not program.fidelity.proved


class Printing(DynamicalSystem):
    """A model that prints its state at each step."""

    def __init__(self) -> None:
        super().__init__()
        self.x = bm.Variable(bm.zeros(1))

    def update(self) -> Any:
        self.x.value = self.x + 1.0
        jax.debug.print("x is {}", self.x.value[0])
        return self.x.value


@pytest.mark.parametrize("jit", [True, False])
def test_debug_print_prints_once_per_step(
    jit: bool, out: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with probe.capture(out, strict=True) as cap:
        seeded(Printing, jit=jit).run(0.5)
        jax.effects_barrier()
    printed = [line for line in capfd.readouterr().out.splitlines() if line.startswith("x is")]
    assert sorted(printed) == [f"x is {step}.0" for step in range(1, 6)]
    # A run without jit has no program.
    assert [bool(program.fidelity.host_callbacks) for program in cap.programs] == [True] * jit


# --- Failures of the probe --------------------------------------------------------------------


class Untraceable(DynamicalSystem):
    """A model that branches in Python on the value of a Variable, which needs ``jit=False``."""

    def __init__(self) -> None:
        super().__init__()
        eras.hold_random_state(self)
        self.x = bm.Variable(bm.zeros(3))
        self.calls = 0

    def update(self) -> Any:
        self.calls += 1
        self.x.value = self.x + (bm.random.rand(3) if float(self.x[0]) < 2.0 else -1.0)
        return self.x.value


identity_p = type(jax.lax.add_p)("test_identity_without_lowering")
identity_p.def_impl(lambda x: x)
identity_p.def_abstract_eval(lambda x: x)


class Unlowerable(DynamicalSystem):
    """A model with a primitive that has an implementation but no lowering rule."""

    def __init__(self) -> None:
        super().__init__()
        eras.hold_random_state(self)
        self.x = bm.Variable(bm.zeros(3))
        self.calls = 0

    def update(self) -> Any:
        self.calls += 1
        self.x.value = self.x + identity_p.bind(bm.as_jax(bm.random.rand(3)))
        return self.x.value


FAILING = pytest.mark.parametrize("make", [Untraceable, Unlowerable])


def _stepwise(make: Callable[[], Any]) -> bp.DSRunner:
    return seeded(make, monitors=["x"], jit=False)


@FAILING
def test_a_failing_probe_warns_once_and_the_run_continues(
    make: Callable[[], Any], out: Path
) -> None:
    case = Case(make.__name__, lambda: _stepwise(make), lambda runner: runner.run(1.0))
    plain = case.build()
    expected = [watching.run(case, plain).values for _ in range(2)]
    probed = case.build()
    with probe.capture(out, trace_eager=True) as cap:
        with pytest.warns(probe.ProbeWarning, match="simulation went on") as warned:
            seen = [watching.run(case, probed).values]
        assert len([warning for warning in warned if warning.category is probe.ProbeWarning]) == 1
        seen.append(watching.run(case, probed).values)  # a second warning would be an error
    assert seen == expected
    assert probed.target.calls == plain.target.calls == 20
    assert cap.programs == ()
    for call in cap.calls:
        assert call.program is None
        assert call.error is None
        assert call.failure is not None
        assert "Traceback" in call.failure.traceback
        assert call.failure.message
    assert len(cap.calls) == 2
    with pytest.raises(probe.ProbeError, match="has no program"):
        cap.text  # noqa: B018 - a property


@FAILING
def test_a_strict_probe_raises_after_the_run(make: Callable[[], Any], out: Path) -> None:
    plain, probed = _stepwise(make), _stepwise(make)
    bm.random.seed(SEED)
    returned = plain.run(1.0)
    expected = watching.values_after(plain, returned)
    bm.random.seed(SEED)
    with (
        probe.capture(out, trace_eager=True, strict=True) as cap,
        pytest.raises(probe.ProbeError) as raised,
    ):
        probed.run(1.0)
    values = watching.values_after(probed, returned)
    assert values == expected
    assert plain.target.calls == probed.target.calls
    assert raised.value.slug
    (call,) = cap.calls
    assert call.failure is not None
    assert call.error is None


def test_a_run_inside_a_transformation_has_no_program(out: Path) -> None:
    runner = seeded(RefractoryLIF)

    def simulate() -> Any:
        return runner.run(1.0)

    trace = eras.traced(simulate)
    with probe.capture(out) as cap, pytest.warns(probe.ProbeWarning, match="transformation"):
        trace()
    (call,) = cap.calls
    assert call.failure is not None
    assert call.failure.kind == "InsideTransformation"


# --- Failures of the run ----------------------------------------------------------------------


class Unreliable(DynamicalSystem):
    """A model that raises on demand, after it has changed its Variables and attributes."""

    def __init__(self) -> None:
        super().__init__()
        eras.hold_random_state(self)
        self.x = bm.Variable(bm.zeros(3))
        self.fails_at: int | None = 3
        self.calls = 0

    def update(self) -> Any:
        self.calls += 1
        self.x.value = self.x + bm.random.rand(3)
        if self.fails_at is not None and self.calls >= self.fails_at:
            raise RuntimeError("no such synapse", self.calls)
        return self.x.value


@pytest.mark.parametrize("fails_at", [1, 3])
@pytest.mark.parametrize("options", [{}, {"memory_efficient": True}, {"jit": False}], ids=str)
def test_a_failing_run_raises_as_without_the_probe(
    options: dict[str, Any], fails_at: int, out: Path
) -> None:
    if options != {"jit": False}:
        fails_at = 1  # a traced update runs once
    case = Case("", lambda: seeded(Unreliable, monitors=["x"], **options), _run_and_keep_error)
    plain = case.build()
    expected = _failing_and_next_run(case, plain, fails_at)
    probed = case.build()
    with probe.capture(out, trace_eager=True, strict=True) as cap:
        seen = _failing_and_next_run(case, probed, fails_at)
    (error, *values), (plain_error, *plain_values) = seen, expected
    assert values == plain_values
    assert type(error) is type(plain_error) is RuntimeError
    assert error.args == plain_error.args
    failed, worked = cap.calls
    assert failed.error is not None
    assert (failed.error.kind, failed.error.message) == ("RuntimeError", str(plain_error))
    assert "in update" in failed.error.traceback
    assert failed.failure is None
    assert failed.program is None
    assert worked.error is None
    assert worked.program is not None


def _run_and_keep_error(runner: bp.DSRunner) -> Any:
    try:
        return runner.run(0.5)
    except RuntimeError as error:
        return error


def _failing_and_next_run(case: Case, runner: bp.DSRunner, fails_at: int) -> list[Any]:
    runner.target.fails_at = fails_at
    error = case.run(runner)
    values = _values_after(runner, None)
    runner.target.fails_at = None
    if not eras.SINCE_2_4:  # BrainPy 2.3 leaves tracers, so that the next run could not start
        runner.target.x.value = bm.zeros(3)
        bm.random.seed(SEED)
    next_values = _values_after(runner, case.run(runner))
    return [error, values, next_values]


def _values_after(runner: bp.DSRunner, returned: Any) -> dict[str, Any]:
    values: dict[str, Any] = {"calls": runner.target.calls, "i0": runner.i0}
    outputs, _, variables = values_of_run(runner, returned)
    arrays = [*outputs, *variables.values()]
    return values | {
        "arrays": [(str(array.dtype), array.shape, array.tobytes()) for array in arrays],
        "monitors": {name: np.array(value).tobytes() for name, value in runner.mon.items()},
        "random": watching.as_bytes(bm.random.DEFAULT.value),
    }
