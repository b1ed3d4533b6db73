"""Captures networks on the devices of this machine: ``python -m tests.devices [NETWORK ...]``.

For a machine with a GPU, which the other tests do not need; without a GPU it is a dry run on the
CPU. For each network it runs two builds without a capture and one with a capture, compares all
values after the runs bit for bit, and verifies and replays the capture on the same device. It takes
a minute on a CPU, and starts no network after ``--seconds``.
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

# Networks with event-driven synapses, plasticity, random draws and products of matrices.
NETWORKS = ("einet", "lstm-batched", "noise", "stdp")
_START = time.perf_counter()


def print_line(text: str) -> None:
    """Print a line with the seconds since the start, without buffering."""
    print(f"{time.perf_counter() - _START:5.0f} s  {text}", flush=True)


def plain_runs(case: Case) -> list[watching.Run]:
    """Run two builds of a network without a capture.

    brainevent compiles its kernels for a GPU with tools that may be missing. If a run fails, the
    network runs with kernels that JAX compiles.
    """
    try:
        return [watching.run(case, case.build()) for _ in range(2)]
    except Exception as error:
        print_line(f"  without a capture it fails: {type(error).__name__}: {str(error)[:300]}")
        import brainevent

        brainevent.config.set_backend("gpu", "jax_raw")
        print_line('  again, with brainevent.config.set_backend("gpu", "jax_raw")')
        return [watching.run(case, case.build()) for _ in range(2)]


def print_program(program: probe.Program) -> None:
    """Print a program's checks, the costs of its components, and the result of a replay."""
    fidelity = program.fidelity
    print_line(f"  program of {fidelity.placement}, texts proved: {fidelity.proved}")
    print_line(f"  custom calls: {list(fidelity.custom_calls)}, chlo: {dict(fidelity.chlo)}")
    for note in (*fidelity.notes, *filter(None, [program.record.unmeasured])):
        print_line(f"  note: {note}")
    measured = program.record.measured
    if measured is not None:
        times = {part.component: f"{part.seconds:.2g} s" for part in measured.components[:4]}
        print_line(f"  measured: {times} {' '.join(measured.notes)}")
    if program.portable is not None:
        portable = program.portable.fidelity
        print_line(f"  portable for {portable.placement}, calls {list(portable.custom_calls)}")
    try:
        replayed = program.within(None).replay(repeat=2)
        seconds = ", ".join(f"{run:.3f}" for run in replayed.run_seconds)
        print_line(f"  replayed here in {seconds} s: {replayed.verdict}")
    except probe.ProbeError as error:
        print_line(f"  not replayed here: {error}")


def check(name: str, folder: Path) -> bool:
    """Run, capture, verify and replay a network; return whether all of it succeeded."""
    case = by_name(name)
    plain, again = (run.values for run in plain_runs(case))
    runner = case.build()
    with probe.capture(
        folder, dialect=DIALECTS, data="full", portable=True, xla_dump="text", profile=True
    ) as cap:
        probed = watching.run(case, runner).values
    print_line(f"  captured in {cap.path}")
    if plain != again:
        print_line(
            "  two runs without a capture differ: an effect of the capture cannot be detected"
        )
    same = plain == probed or plain != again
    print_line(f"  the simulation is {'unchanged' if plain == probed else 'changed'}")
    print_line(f"  dumps: {dict(Counter(path.suffix for path in cap.dump_paths))}")
    for call in cap.calls:
        if call.failure is not None:
            print_line(f"  FAILURE of the probe: {call.failure.message}\n{call.failure.traceback}")
        for note in call.record.notes:
            print_line(f"  note: {note}")
    for program in cap.programs:
        print_program(program)
    for found in cap.findings:
        print_line(f"  finding: {found.slug}: {found.remedy}")
    verified = verify(cap.path)
    for result in verified.checks:
        if result.outcome != "passed" or result.name in ("replay", "equations"):
            print_line(f"  {result.outcome}: {result.subject}, {result.name}: {result.reason}")
    failed = not verified.passed or any(call.failure for call in cap.calls)
    print_line(f"{name}: {'FAILED' if failed or not same else 'passed'}")
    return same and not failed


def main() -> None:
    """Check networks on JAX's default device."""
    parser = argparse.ArgumentParser(prog="python -m tests.devices")
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument(
        "--out", type=Path, help="the folder of the captures; default: a new folder"
    )
    parser.add_argument("--seconds", type=float, default=180, help="no network starts later")
    options = parser.parse_args()
    folder = options.out or Path(tempfile.mkdtemp(prefix="brainpy-probe-devices-"))
    tested = stack() or "not a tested stack"
    print_line(f"BrainPy {bp.__version__}, JAX {jax.__version__} ({tested}), {os.cpu_count()} CPUs")
    print_line(f"devices: {jax.devices()}")
    if jax.default_backend() == "cpu":
        print_line("no GPU: a dry run on the CPU")
    outcomes: dict[str, str] = {}
    for name in options.networks:
        if time.perf_counter() - _START > options.seconds:
            outcomes[name] = "not started"
            continue
        print_line(name)
        try:
            outcomes[name] = "passed" if check(name, folder / name) else "FAILED"
        except Exception:
            outcomes[name] = "raised"
            traceback.print_exc()
    print_line(f"all: {outcomes}")


if __name__ == "__main__":
    main()
