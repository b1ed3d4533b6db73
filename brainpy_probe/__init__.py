"""brainpy-probe shows what XLA makes of a BrainPy network, and leaves the network alone.

Importing this package imports neither BrainPy nor JAX.
"""

from loguru import logger

from brainpy_probe.captured import Capture, load
from brainpy_probe.errors import (
    BadSetting,
    CannotCapture,
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

__all__ = [
    "BadSetting",
    "CannotCapture",
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

logger.disable("brainpy_probe")
