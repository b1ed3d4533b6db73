"""What the probe adds to EINet's run: ratios of probed to plain runs, measured side by side.

    python benchmarks/overhead.py --scale 1 --pairs 7
    python benchmarks/overhead.py --scale 1 --pairs 7 --dump

Each pair is two fresh processes, one plain, one probed, in turns; each runs the network several
times. Printed are the medians of the ratios of the first run, and of the repeated ones: of all that
``run()`` takes, and of the native run within it, without the probe's own work after it; and, which
a noisy machine disturbs least, the share of the probe's own work in the native run beside it. The
data are left out (``data="none"``): digests and copies of arrays cost what their size costs.

With ``--dump`` XLA dumps everything on both sides, by ``XLA_FLAGS`` on the plain one and by
``xla_dump=True`` on the probed one.
"""

from __future__ import annotations

import argparse
import json
import os
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
    scope = probe.capture({out!r}, dialect="mhlo", data="none", xla_dump={dump}, strict=True)
seconds = []
with scope as cap:
    for _ in range({runs}):
        begun = time.perf_counter()
        runner.run({duration})
        seconds.append(time.perf_counter() - begun)
calls = cap.calls if cap else []
native = [call.timing.wall for call in calls] or seconds
own = [call.probe_timing.wall for call in calls] or [0.0 for _ in seconds]
print(json.dumps([seconds, native, own]))
"""

FLAGS = " ".join(
    ["--xla_dump_to={out}"]
    + [f"--xla_dump_hlo_as_{kind}" for kind in ("text", "dot", "html", "proto")]
)


def seconds(probed: bool, options: argparse.Namespace) -> list[list[float]]:
    """Run the network in a process of its own; return the seconds of each run.

    Returns
    -------
    list
        The seconds of ``run()``, those of the native run within it, those of the probe's own work.
    """
    with tempfile.TemporaryDirectory() as out:
        code = CHILD.format(
            examples=str(EXAMPLES),
            scale=options.scale,
            duration=options.duration,
            runs=options.runs,
            probed=probed,
            dump=options.dump,
            out=out,
        )
        flags = {"XLA_FLAGS": FLAGS.format(out=out)} if options.dump and not probed else {}
        child = subprocess.run(  # noqa: S603  this interpreter, on the code above
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            text=True,
            env=os.environ | flags,
        )
    return list(json.loads(child.stdout.splitlines()[-1]))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--duration", type=float, default=1000.0, help="ms of model time")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--runs", type=int, default=5, help="runs in each process")
    parser.add_argument("--dump", action="store_true", help="have XLA dump on both sides")
    options = parser.parse_args()
    ratios: dict[str, list[float]] = {
        "first run": [], "repeated run": [], "first native run": [], "repeated native run": [],
        "probe's own work, first run": [], "probe's own work, repeated run": [],
    }  # fmt: skip
    for number in range(options.pairs):
        order = (False, True) if number % 2 else (True, False)
        measured = {probed: seconds(probed, options) for probed in order}
        plain = measured[False][0]
        again = statistics.median(plain[1:])
        print(f"pair {number}: a plain process took {plain[0]:.3f} s, then {again:.3f} s", end="")
        *runs, own = measured[True]
        ratios["probe's own work, first run"].append(own[0] / runs[1][0])
        of_native = [a / b for a, b in zip(own[1:], runs[1][1:], strict=True)]
        ratios["probe's own work, repeated run"].append(statistics.median(of_native))
        for probed, which in zip(runs, ("", "native "), strict=True):
            print(
                f"; {which}probed {probed[0]:.3f} s, {statistics.median(probed[1:]):.3f} s", end=""
            )
            ratios[f"first {which}run"].append(probed[0] / plain[0])
            ratios[f"repeated {which}run"].append(statistics.median(probed[1:]) / again)
        print(flush=True)
    for name, found in ratios.items():
        of_what = "of the native one beside it" if "own" in name else "of a plain one"
        print(
            f"{name}: {100 * statistics.median(found):.1f} % {of_what} "
            f"(from {100 * min(found):.1f} to {100 * max(found):.1f})"
        )


if __name__ == "__main__":
    main()
