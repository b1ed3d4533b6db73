"""Captures networks on the devices of this machine: ``python -m tests.devices [NETWORK ...]``.

For a machine with a GPU, which the tests do not need. For each network it
runs two builds without a capture and one with, compares what they leave bit for bit, and verifies
the capture, on the same device.
"""

from __future__ import annotations

import sys
import tempfile
import time
import traceback

import jax

import brainpy_probe as probe
from brainpy_probe.verify.api import verify
from tests import watching
from tests.networks import by_name
from tests.replaying import DIALECTS

NETWORKS = ("einet", "stdp", "noise", "lstm-batched")


def check(name: str) -> str:
    """Run and capture one network, print what is not as it should be, and return a summary."""
    case = by_name(name)
    plain, again = (watching.run(case, case.build()).left for _ in range(2))
    folder = tempfile.mkdtemp(prefix="brainpy-probe-devices-")
    runner = case.build()
    with probe.capture(
        folder, dialect=DIALECTS, data="full", portable=True, xla_dump="text", profile=True
    ) as cap:
        probed = watching.run(case, runner).left
    verified = verify(cap.path)
    for found in verified.checks:
        if found.outcome != "passed":
            print(f"  {found.outcome}: {found.subject}, {found.name}: {found.reason}")
    for call in cap.calls:
        if call.failure is not None:
            print(f"  failure of the probe: {call.failure.message}")
    for program in cap.programs:
        unmeasured, notes = program.record.unmeasured, program.fidelity.notes
        print(f"  {program.fidelity.placement}, proved: {program.fidelity.proved}")
        print("\n".join(f"  {note}" for note in filter(None, (unmeasured, *notes))))
    kinds = sorted({path.suffix for path in cap.dump_paths})
    return (
        f"{name}: the simulation is {'' if plain == probed else 'NOT '}untouched"
        f"{'' if plain == again else ' (two builds without a capture differ)'}, verified: "
        f"{verified.passed}, dumps: {' '.join(kinds)}, in {cap.path}"
    )


def main(names: list[str]) -> None:
    """Check networks on JAX's default device."""
    print(f"devices: {jax.devices()}")
    for name in names or NETWORKS:
        begun = time.perf_counter()
        try:
            print(f"{check(name)}, {time.perf_counter() - begun:.0f} s")
        except Exception:
            traceback.print_exc()


if __name__ == "__main__":
    main(sys.argv[1:])
