"""What the probe adds to EINet's run: ratios of probed to plain runs, measured side by side.

    python benchmarks/overhead.py --scale 1 --pairs 7

Each pair is two fresh processes, one plain, one probed, in turns; each runs the network several
times. Printed are the medians of the ratios of the first run, and of the repeated ones. The data
are left out (``data="none"``): digests and copies of arrays cost what their size costs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"

CHILD = """
import contextlib, json, sys, time
sys.path.insert(0, {examples!r})
import brainpy as bp
from einet import EINet
import brainpy_probe as probe

bp.math.random.seed(1)
runner = bp.DSRunner(EINet({scale}), inputs=[("E.input", 20.0), ("I.input", 20.0)],
                     monitors=["E.spike"], progress_bar=False)
scope = contextlib.nullcontext()
if {probed}:
    scope = probe.capture({out!r}, dialect="mhlo", data="none", strict=True)
seconds = []
with scope:
    for _ in range({runs}):
        begun = time.perf_counter()
        runner.run({duration})
        seconds.append(time.perf_counter() - begun)
print(json.dumps(seconds))
"""


def seconds(probed: bool, options: argparse.Namespace) -> list[float]:
    """Run the network in a process of its own; return the seconds of each run."""
    with tempfile.TemporaryDirectory() as out:
        code = CHILD.format(
            examples=str(EXAMPLES),
            scale=options.scale,
            duration=options.duration,
            runs=options.runs,
            probed=probed,
            out=out,
        )
        child = subprocess.run(  # noqa: S603  this interpreter, on the code above
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        )
    return [float(one) for one in json.loads(child.stdout.splitlines()[-1])]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--duration", type=float, default=1000.0, help="ms of model time")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--runs", type=int, default=5, help="runs in each process")
    options = parser.parse_args()
    first, repeated = [], []
    for number in range(options.pairs):
        order = (False, True) if number % 2 else (True, False)
        measured = {probed: seconds(probed, options) for probed in order}
        plain, probed = measured[False], measured[True]
        first.append(probed[0] / plain[0])
        repeated.append(statistics.median(probed[1:]) / statistics.median(plain[1:]))
        print(
            f"pair {number}: first {plain[0]:.3f} s plain, {probed[0]:.3f} s probed; repeated "
            f"{statistics.median(plain[1:]):.3f} s and {statistics.median(probed[1:]):.3f} s"
        )
    for name, ratios in (("first run", first), ("repeated run", repeated)):
        print(
            f"{name}: {statistics.median(ratios):.3f} times a plain one "
            f"(from {min(ratios):.3f} to {max(ratios):.3f})"
        )


if __name__ == "__main__":
    main()
