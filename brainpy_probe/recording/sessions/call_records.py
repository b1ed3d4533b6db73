"""Makes the records of a call and of the environment from the collected data."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Iterator

import jax

from brainpy_probe.compat.versions import ECOSYSTEM, PACKAGES, installed, untested
from brainpy_probe.format.manifest.common_records import Failure, Timing
from brainpy_probe.format.manifest.environment_records import Environment
from brainpy_probe.format.manifest.records import CallRecord
from brainpy_probe.ir.executables.execution import processor, xla_flags
from brainpy_probe.recording.calls import RunningCall
from brainpy_probe.recording.model.standalone import StandaloneRun
from brainpy_probe.recording.sessions import ranks

__all__ = ["environment", "minimal_record", "model_class", "timing_notes"]


def minimal_record(call: RunningCall) -> CallRecord:
    """Return the parts of a call's record that are always known, without its number."""
    runner = call.runner
    standalone = runner if isinstance(runner, StandaloneRun) else None
    holder = runner if standalone is None else standalone.holder
    return CallRecord(
        index=0,
        runner="" if holder is None else type(holder).__qualname__,
        kind=call.kind,
        name="" if standalone is None else standalone.name,
        model=model_class(call),
        thread=call.thread,
        started=call.started,
        i0=call.i0,
        dt=_step_duration(call),
        jit=call.jit,
        steps=call.steps,
        native=call.watch.timing(),
        numba=tuple(dict.fromkeys(call.numba)),
        probe=call.preparation,
        error=None if call.error is None else Failure.of(call.error),
    )


def timing_notes(call: RunningCall, native: Timing) -> Iterator[str]:
    """Yield the reasons why some seconds of a call are missing."""
    if call.unfinished:
        cause = (
            "since JAX does not wait for it"
            if call.is_standalone
            else "because the call waits for none of its results (numpy_mon_after_run=False, or no "
            "monitors)"
        )
        yield (
            f"XLA was still running the program when the call returned, {cause}. The run time is "
            "not known."
        )
    if native.trace is None:
        yield (
            "JAX did not report the duration of its phases, because "
            "jax.monitoring.clear_event_listeners() was called."
        )
    if native.numba is None and not call.unfinished:
        yield "The seconds of numba's compilation cannot be separated from other work."


def model_class(call: RunningCall) -> str:
    """Return the name of the class of a call's model."""
    if isinstance(call.runner, StandaloneRun):
        return call.runner.title
    return type(getattr(call.runner, "target", call.runner)).__qualname__


def environment(capture: int) -> Environment:
    """Return the record of this process's environment.

    Parameters
    ----------
    capture : int
        How many captures the process had opened before.
    """
    names = (*PACKAGES, *ECOSYSTEM)
    versions = {name: version for name in names if (version := installed(name)) is not None}
    return Environment(
        host=socket.gethostname(),
        pid=os.getpid(),
        python=platform.python_version(),
        backend=jax.default_backend(),
        versions=versions,
        rank=ranks.rank(capture),
        processor=processor(),
        xla_flags=xla_flags(),
        untested=untested(),
    )


def _step_duration(call: RunningCall) -> float:
    """Return the milliseconds of one step, or 0 if the runner has none."""
    try:
        return float(getattr(call.runner, "dt", 0.0))
    except Exception:  # a property of the user's own runner
        return 0.0
