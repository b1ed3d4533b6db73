"""brainpy-probe shows what XLA makes of a BrainPy network, and leaves the network alone.

Importing this package imports neither BrainPy nor JAX, nor what reads its settings from the
environment or from ``sys.stderr`` when it is imported (NumPy, loguru): an unchanged script, in
which the probe is there first, must find them as if it were not.
"""

from brainpy_probe.captured import Capture, load
from brainpy_probe.errors import (
    BadSetting,
    CannotCapture,
    CannotMeasure,
    CannotReplay,
    DamagedCapture,
    ProbeError,
    ProbeWarning,
    SeamMissing,
    UnknownDialect,
)
from brainpy_probe.findings import Finding
from brainpy_probe.live.capture import capture
from brainpy_probe.parts import CompiledModule, PredictCall, Program
from brainpy_probe.records import Failure, Fidelity, TensorSpec, Timing
from brainpy_probe.silence import be_silent

__all__ = [
    "BadSetting",
    "CannotCapture",
    "CannotMeasure",
    "CannotReplay",
    "Capture",
    "CompiledModule",
    "DamagedCapture",
    "Failure",
    "Fidelity",
    "Finding",
    "PredictCall",
    "ProbeError",
    "ProbeWarning",
    "Program",
    "SeamMissing",
    "TensorSpec",
    "Timing",
    "UnknownDialect",
    "capture",
    "load",
]

be_silent()
