"""brainpy-probe captures what XLA makes of a BrainPy network, without changing the simulation.

Importing this package imports neither BrainPy nor JAX, nor packages that read the environment or
``sys.stderr`` when they are imported (NumPy, loguru): a script must be able to set these up itself,
even if the probe was imported first. Each public name is imported when it is first accessed.
"""

import importlib
from typing import TYPE_CHECKING

from brainpy_probe.compat.import_hooks import silence_log

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
    from brainpy_probe.format.manifest.common_records import Failure, Timing
    from brainpy_probe.format.manifest.program_records import Fidelity, TensorSpec
    from brainpy_probe.reader.call import PredictCall
    from brainpy_probe.reader.capture import Capture, load
    from brainpy_probe.reader.difference import diff
    from brainpy_probe.reader.module import CompiledModule
    from brainpy_probe.reader.program import Program
    from brainpy_probe.reader.worker import Limits
    from brainpy_probe.recording.api import capture

    __version__: str

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
    "diff",
    "load",
]

# The modules that define the public names, in the order in which they are searched. The last one
# is the most expensive to import.
_MODULES = (
    "reader.capture",
    "errors",
    "analysis.finding",
    "reader.program",
    "reader.module",
    "reader.call",
    "reader.difference",
    "format.manifest.common_records",
    "format.manifest.program_records",
    "reader.worker",
    "recording.api",
)


def __getattr__(name: str) -> object:
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("brainpy-probe")
    for path in _MODULES if name in __all__ else ():
        module = importlib.import_module(f"{__name__}.{path}")
        if name in module.__all__:
            public: object = getattr(module, name)
            globals()[name] = public
            return public
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(shell: object) -> None:
    """Add the cell magic ``%%probe`` to IPython: ``%load_ext brainpy_probe``."""
    importlib.import_module(f"{__name__}.startup.notebook").load(shell)


silence_log()
