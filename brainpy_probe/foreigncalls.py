"""Whether a program calls only what its record names, before it is compiled; knows no kernel.

XLA runs a custom call by its name: jaxlib itself registers calls back into Python, which take the
address of an object, and jaxlib 0.4.13 to 0.4.30 finds functions of its own process. A text that
somebody has altered may have one that no record names.
"""

from __future__ import annotations

from brainpy_probe.errors import CannotReplay, told
from brainpy_probe.records import ProgramRecord
from brainpy_probe.xla import bindings, mlir

__all__ = ["check_calls"]

# XLA compiles these itself: MHLO has operations for them, and StableHLO has none.
_OPERATION = "mhlo."


def check_calls(record: ProgramRecord, content: bytes) -> None:
    """Check what a program calls, given as StableHLO text or VHLO bytecode.

    Raises
    ------
    CannotReplay
        If it calls back into Python, or anything that the record does not name; or can't be read.
    """
    try:
        module = bindings.read_mlir(content)
        found = {
            target
            for target in mlir.custom_calls(mlir.operations(module))
            if not target.startswith(_OPERATION)
        }
    except Exception as error:  # MLIR's own class is none that all versions share
        raise CannotReplay(
            f"{record.name} can't be read by jaxlib: {told(error)}",
            "brainpy-probe verify says which of its files is damaged.",
        ) from error
    named = record.fidelity.custom_calls.keys() | set(record.fidelity.host_callbacks)
    hidden = sorted(found - named)
    if hidden:
        raise CannotReplay(
            f"{record.name} calls {', '.join(hidden)}, of which the manifest says nothing.",
            "The capture was altered: brainpy-probe verify says more.",
        )
    callbacks = sorted(filter(mlir.is_callback, found - set(record.fidelity.host_callbacks)))
    if callbacks:
        raise CannotReplay(
            f"{record.name} calls back into the Python that it was captured in: "
            f"{', '.join(callbacks)}.",
            "Capture it without the callback.",
        )
