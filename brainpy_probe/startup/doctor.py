"""Reports on this environment, and whether the probe can capture here, without changing it."""

from __future__ import annotations

import contextlib
import importlib
import os
import platform
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import msgspec

from brainpy_probe.compat import lookup
from brainpy_probe.compat.versions import (
    ECOSYSTEM,
    PACKAGES,
    TESTED,
    expected,
    installed,
    stack,
)
from brainpy_probe.errors import PrivateNameMissing, ProbeError, describe_error
from brainpy_probe.format.atomic import abandoned_files
from brainpy_probe.recording.api import capture
from brainpy_probe.recording.patches import ACTIVE
from brainpy_probe.settings import DEFAULT_OUT, DIALECTS, VARIABLE, Settings
from brainpy_probe.startup import autostart, launch

__all__ = ["Activation", "Diagnosis", "NameState", "Stack", "as_lines", "diagnose"]


_EXTRAS = {"graph": "pygraphviz", "cpu": "numba", "iree": "iree-base-compiler"}
_INSTALL = {
    "graph": "pip install 'brainpy-probe[graph]'",
    "cpu": 'pip install "brainpy[cpu]", for BrainPy\'s event-driven synapses on a CPU',
    "iree": "pip install 'brainpy-probe[iree]', for verify --with iree",
}


class NameState(msgspec.Struct, frozen=True, kw_only=True):
    """A private name of BrainPy or JAX: where it was found, or each place that was tried."""

    name: str
    what: str
    holds: str
    place: str | None
    tried: tuple[str, ...] = ()


class Activation(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the activation by environment variables.

    Attributes
    ----------
    files : tuple of str
        The ``brainpy_probe.pth`` files that this interpreter runs when it starts.
    variable : str or None
        The value of ``BRAINPY_PROBE``.
    started : bool
        Whether the activation ran in this process.
    problem : str
        The problem with the variables; empty if they are valid.
    """

    files: tuple[str, ...]
    variable: str | None
    started: bool
    problem: str


class Stack(msgspec.Struct, frozen=True, kw_only=True):
    """Versions of BrainPy, brainstate and JAX that the probe was tested with.

    BrainPy before 2.7 has no brainstate.
    """

    name: str
    brainpy: str
    brainstate: str
    jax: str


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """The doctor's report on an environment.

    Attributes
    ----------
    versions, extras : dict
        The version of each package, or None if it is not installed.
    ecosystem : dict
        The version of each installed package that builds on brainstate, and the tested version.
    devices : str
        The devices that JAX has here: ``4 cpu``; empty if JAX can't be imported or has none.
    stack : str or None
        The tested stack that is installed, if any.
    problem : str
        Why the probe cannot capture here; empty if it can.
    leftovers : tuple of str
        Temporary files that killed captures left in the output folder. They are not used.
    """

    python: str
    executable: str
    versions: dict[str, str | None]
    ecosystem: dict[str, tuple[str, str]]
    devices: str
    stack: str | None
    tested: tuple[Stack, ...]
    extras: dict[str, str | None]
    activation: Activation
    private_names: tuple[NameState, ...]
    problem: str
    leftovers: tuple[str, ...] = ()


def diagnose() -> Diagnosis:
    """Inspect the environment, and capture a small run as a trial."""
    versions = {package: installed(package) for package in PACKAGES}
    ecosystem = {
        package: (version, tested)
        for package, tested in ECOSYSTEM.items()
        if (version := installed(package)) is not None
    }
    return Diagnosis(
        python=platform.python_version(),
        executable=sys.executable,
        versions=versions,
        ecosystem=ecosystem,
        devices=_devices(),
        stack=stack(),
        tested=tuple(Stack(**tested._asdict()) for tested in TESTED),
        extras={extra: installed(package) for extra, package in _EXTRAS.items()},
        activation=_activation(),
        private_names=tuple(_state_of(name) for name in expected()),
        problem=_missing() or _trial(),
        leftovers=_leftovers(),
    )


def _devices() -> str:
    try:
        devices = importlib.import_module("jax").local_devices()
    except Exception:  # plug-ins raise many exception classes
        return ""
    counts = Counter(str(device.platform) for device in devices)
    return ", ".join(f"{count} {platform}" for platform, count in counts.items())


def _leftovers() -> tuple[str, ...]:
    out = DEFAULT_OUT
    with contextlib.suppress(ProbeError):
        settings = Settings.of_environment(os.environ)
        out = settings.out if settings is not None else out
    return tuple(map(str, abandoned_files(Path(out))))


def _activation() -> Activation:
    problem = ""
    try:
        Settings.of_environment(os.environ)
    except ProbeError as error:
        problem = str(error)
    return Activation(
        files=tuple(map(str, launch.pth_files())),
        variable=os.environ.get(VARIABLE),
        started=autostart.has_started(),
        problem=problem,
    )


def _state_of(name: str) -> NameState:
    private = lookup.NAMES[name]
    place: str | None = None
    tried: tuple[str, ...] = ()
    try:
        place = lookup.place_of(name)
    except PrivateNameMissing as missing:
        tried = missing.tried
    return NameState(name=name, what=private.what, holds=private.holds, place=place, tried=tried)


def _missing() -> str:
    has_model_library = any(map(find_spec, ("brainpy", "brainstate")))
    missing = [
        *([] if has_model_library else ["brainpy"]),
        *([] if find_spec("jax") else ["jax"]),
    ]
    if not missing:
        return ""
    return (
        f"{' and '.join(missing)} can't be imported here: pip install 'brainpy[cpu]' (for a GPU "
        "'brainpy[cuda12]'), or install brainpy-probe into the environment that has them."
    )


def _trial() -> str:
    """Capture a small run in every dialect; return the problem, or ""."""
    try:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            make_run = _neuron if find_spec("brainpy") else _loop
            importlib.import_module("brainpy" if make_run is _neuron else "brainstate")
            for user in ACTIVE.users:  # BRAINPY_PROBE is set; do not record the trial there
                ACTIVE.leave(user)
            run = make_run()
            with capture(folder, dialect=DIALECTS, strict=True) as captured:
                run()
            (program,) = captured.programs
            if not program.fidelity.proved:
                return f"A captured text failed its check: {program.fidelity.checks}."
    except Exception as error:
        return describe_error(error)
    return ""


def _neuron() -> Callable[[], object]:
    """Return the run of a network of one neuron."""
    import brainpy

    runner = brainpy.DSRunner(brainpy.neurons.LIF(1), inputs=("input", 20.0), progress_bar=False)
    return lambda: runner.run(1.0)


def _loop() -> Callable[[], object]:
    """Return a loop over one state, for an environment with brainstate but without BrainPy."""
    import brainstate
    import jax.numpy as jnp

    state = brainstate.State(jnp.zeros(1))

    def step(number: object) -> None:
        state.value = state.value * 0.5 + 1.0

    return lambda: brainstate.transform.for_loop(step, jnp.arange(10))


def as_lines(diagnosis: Diagnosis) -> list[str]:
    """Format a diagnosis as lines of text."""
    versions = [
        f"{name} {version or 'is not installed'}" for name, version in diagnosis.versions.items()
    ]
    tested = ", ".join(f"{stack.brainpy} on {stack.jax}" for stack in diagnosis.tested)
    answer = f"yes: stack {diagnosis.stack}" if diagnosis.stack else "no"
    versions += [
        f"{name} {version}" + ("" if version == known else f", tested was {known}")
        for name, (version, known) in diagnosis.ecosystem.items()
    ]
    lines = [
        f"can capture here: {_verdict(diagnosis)}",
        "",
        f"Python {diagnosis.python} in {diagnosis.executable}",
        *versions,
        f"devices: {diagnosis.devices or 'none that JAX finds'}",
        f"tested together: {answer}. Tested are BrainPy {tested}.",
        "",
        "extras",
    ]
    for extra, version in diagnosis.extras.items():
        state = f"{_EXTRAS[extra]} {version}" if version else _INSTALL[extra]
        lines.append(f"  {extra}: {state}")
    lines += ["", "activation", *_activation_lines(diagnosis.activation), "", "private names"]
    for private in diagnosis.private_names:
        if private.place is not None:
            lines.append(f"  {private.name}: {private.place}")
        else:
            lines.append(f"  {private.name}: NOT FOUND; tried {'; '.join(private.tried)}")
        lines.append(f"    {private.what}. {private.holds}")
    if diagnosis.leftovers:
        lines += ["", "left by captures that were killed; nothing reads them, delete them with rm"]
        lines += [f"  {path}" for path in diagnosis.leftovers]
    return lines


def _verdict(diagnosis: Diagnosis) -> str:
    missing = [private.name for private in diagnosis.private_names if private.place is None]
    if diagnosis.problem:
        return f"NO: {diagnosis.problem}"
    if missing:
        return f"yes: a trial passed; {', '.join(missing)} is not needed with these versions"
    return "yes: a trial passed"


def _activation_lines(activation: Activation) -> list[str]:
    files = activation.files or (
        "not in this interpreter's site-packages; brainpy-probe run works without it",
    )
    value = "not set" if activation.variable is None else repr(activation.variable)
    lines = [*(f"  {launch.PTH}: {file}" for file in files), f"  {VARIABLE}: {value}"]
    lines.append("  begins when a script imports brainpy or brainstate")
    lines.append(f"  started in this process: {'yes' if activation.started else 'no'}")
    return [*lines, f"  {activation.problem}"] if activation.problem else lines
