"""Captures networks on the devices of this machine: ``python -m tests.devices [NETWORK ...]``.

For a machine with a GPU, which the tests do not need; without one it tries the script on the CPU.
For each network it runs two builds without a capture and one with, compares what they leave bit for
bit, and verifies and replays the capture on the same device. It takes a minute on a CPU, and begins
no network after ``--seconds``.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

import brainpy as bp
import jax

import brainpy_probe as probe
from brainpy_probe.compat.versions import stack
from brainpy_probe.verify.api import verify
from tests import watching
from tests.networks import Case, by_name
from tests.replaying import DIALECTS

# With event-driven synapses, plasticity, random draws and products of matrices.
NETWORKS = ("einet", "lstm-batched", "noise", "stdp")
_BEGUN = time.perf_counter()


def say(text: str) -> None:
    """Print a line with the seconds since the start, at once."""
    print(f"{time.perf_counter() - _BEGUN:5.0f} s  {text}", flush=True)


def plain_runs(case: Case) -> list[watching.Run]:
    """Run two builds of a network without a capture.

    brainevent compiles its kernels for a GPU with tools that a machine may lack. The network then
    runs with kernels that JAX compiles.
    """
    try:
        return [watching.run(case, case.build()) for _ in range(2)]
    except Exception as error:
        say(f"  without a capture it fails: {type(error).__name__}: {str(error)[:300]}")
        import brainevent

        brainevent.config.set_backend("gpu", "jax_raw")
        say('  again, with brainevent.config.set_backend("gpu", "jax_raw")')
        return [watching.run(case, case.build()) for _ in range(2)]


def tell(program: probe.Program) -> None:
    """Say what a program is, what its components cost, and what a replay in this process gives."""
    fidelity = program.fidelity
    say(f"  program of {fidelity.placement}, texts proved: {fidelity.proved}")
    say(f"  custom calls: {list(fidelity.custom_calls)}, chlo: {dict(fidelity.chlo)}")
    for note in (*fidelity.notes, *filter(None, [program.record.unmeasured])):
        say(f"  note: {note}")
    measured = program.record.measured
    if measured is not None:
        times = {part.component: f"{part.seconds:.2g} s" for part in measured.components[:4]}
        say(f"  measured: {times} {' '.join(measured.notes)}")
    if program.portable is not None:
        portable = program.portable.fidelity
        say(f"  portable for {portable.placement}, calls {list(portable.custom_calls)}")
    try:
        replayed = program.within(None).replay(repeat=2)
        seconds = ", ".join(f"{one:.3f}" for one in replayed.run_seconds)
        say(f"  replayed here in {seconds} s: {replayed.verdict}")
    except probe.ProbeError as error:
        say(f"  not replayed here: {error}")


def check(name: str, folder: Path) -> bool:
    """Run, capture, verify and replay a network; return whether all is as it should be."""
    case = by_name(name)
    plain, again = (run.values for run in plain_runs(case))
    runner = case.build()
    with probe.capture(
        folder, dialect=DIALECTS, data="full", portable=True, xla_dump="text", profile=True
    ) as cap:
        probed = watching.run(case, runner).values
    say(f"  captured in {cap.path}")
    if plain != again:
        say("  two runs without a capture differ: whether a capture changes them is not known")
    same = plain == probed or plain != again
    say(f"  the simulation is {'untouched' if plain == probed else 'another one'}")
    say(f"  dumps: {dict(Counter(path.suffix for path in cap.dump_paths))}")
    for call in cap.calls:
        if call.failure is not None:
            say(f"  FAILURE of the probe: {call.failure.message}\n{call.failure.traceback}")
        for note in call.record.notes:
            say(f"  note: {note}")
    for program in cap.programs:
        tell(program)
    for found in cap.findings:
        say(f"  finding: {found.slug}: {found.remedy}")
    verified = verify(cap.path)
    for one in verified.checks:
        if one.outcome != "passed" or one.name in ("replay", "equations"):
            say(f"  {one.outcome}: {one.subject}, {one.name}: {one.reason}")
    failed = not verified.passed or any(call.failure for call in cap.calls)
    say(f"{name}: {'FAILED' if failed or not same else 'as it should be'}")
    return same and not failed


def main() -> None:
    """Check networks on JAX's default device."""
    parser = argparse.ArgumentParser(prog="python -m tests.devices")
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--out", type=Path, help="where the captures go; default: a new folder")
    parser.add_argument("--seconds", type=float, default=180, help="no network begins later")
    given = parser.parse_args()
    folder = given.out or Path(tempfile.mkdtemp(prefix="brainpy-probe-devices-"))
    tested = stack() or "not a tested stack"
    say(f"BrainPy {bp.__version__}, JAX {jax.__version__} ({tested}), {os.cpu_count()} CPUs")
    say(f"devices: {jax.devices()}")
    if jax.default_backend() == "cpu":
        say("no GPU: the script is tried on the CPU")
    outcomes: dict[str, str] = {}
    for name in given.networks:
        if time.perf_counter() - _BEGUN > given.seconds:
            outcomes[name] = "not begun"
            continue
        say(name)
        try:
            outcomes[name] = "as it should be" if check(name, folder / name) else "FAILED"
        except Exception:
            outcomes[name] = "raised"
            traceback.print_exc()
    say(f"all: {outcomes}")


if __name__ == "__main__":
    main()
