"""brainpy-probe shows what XLA makes of a BrainPy network, and leaves the network alone.

Importing this package imports neither BrainPy nor JAX, nor what reads its settings from the
environment or from ``sys.stderr`` when it is imported (NumPy, loguru): an unchanged script, in
which the probe is there first, must find them as if it were not. What the package has to give is
imported when it is first asked for: until then it costs next to nothing.
"""

import importlib
from typing import TYPE_CHECKING

from brainpy_probe.startup.import_hooks import silence_log

if TYPE_CHECKING:
    from brainpy_probe.analysis.finding import Finding
    from brainpy_probe.errors import (
        BadSetting,
        CannotCapture,
        CannotConvert,
        CannotMeasure,
        CannotReplay,
        CannotWrite,
        DamagedCapture,
        PrivateNameMissing,
        ProbeError,
        ProbeWarning,
        Stopped,
        UnknownDialect,
    )
    from brainpy_probe.format.common_records import Failure, Timing
    from brainpy_probe.format.program_records import Fidelity, TensorSpec
    from brainpy_probe.reader.call import PredictCall
    from brainpy_probe.reader.capture import Capture, load
    from brainpy_probe.reader.module import CompiledModule
    from brainpy_probe.reader.program import Program
    from brainpy_probe.reader.worker import Limits
    from brainpy_probe.recording.api import capture

__all__ = [
    "BadSetting",
    "CannotCapture",
    "CannotConvert",
    "CannotMeasure",
    "CannotReplay",
    "CannotWrite",
    "Capture",
    "CompiledModule",
    "DamagedCapture",
    "Failure",
    "Fidelity",
    "Finding",
    "Limits",
    "PredictCall",
    "PrivateNameMissing",
    "ProbeError",
    "ProbeWarning",
    "Program",
    "Stopped",
    "TensorSpec",
    "Timing",
    "UnknownDialect",
    "capture",
    "load",
]

# In the order in which they are looked through; what needs BrainPy to be of use comes last.
_HOMES = (
    "reader.capture",
    "errors",
    "analysis.finding",
    "reader.program",
    "reader.module",
    "reader.call",
    "format.common_records",
    "format.program_records",
    "reader.worker",
    "recording.api",
)


def __getattr__(name: str) -> object:
    for home in _HOMES if name in __all__ else ():
        module = importlib.import_module(f"{__name__}.{home}")
        if name in module.__all__:
            found: object = getattr(module, name)
            globals()[name] = found
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


silence_log()
