"""Chooses the file from which a program is read: a text in a dialect, or VHLO bytecode."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from brainpy_probe.errors import CannotReplay, DamagedCapture, describe_error

if TYPE_CHECKING:
    from brainpy_probe.reader.program_files import ProgramFiles

__all__ = ["parsed", "rounding_reasons", "stablehlo"]

_T = TypeVar("_T")
# The names of matrix products and convolutions, in a text or in bytecode.
_PRODUCTS = re.compile(rb"dot_general|convolution")
_DAMAGED = "brainpy-probe verify lists all damaged files. Capture again."


def parsed(program: ProgramFiles, parse: Callable[[str, bytes], _T]) -> tuple[str, _T]:
    """Return the form in which the program is analysed, and the result of ``parse`` for it.

    It is the form closest to the program that ran, and the same for costs, measurements and runs,
    so that all of them have the same operations. StableHLO text is preferred to VHLO, in which
    CHLO's operations are decomposed: XLA's own code for them rounds differently (erf; jaxlib
    0.10.2, 0.12.0). VHLO is preferred if another version of jaxlib wrote the capture: only VHLO is
    stable across versions.
    """
    from brainpy_probe.compat import bindings

    kinds = {file.kind for file in program.record.files}
    order = ["stablehlo", "mhlo", "hlo", "vhlo"]
    other = bindings.version_remark(program.environment.jaxlib)
    if other:
        order = ["vhlo", *order[:3]]
    form = next((kind for kind in order if kind in kinds), None)
    if form is None:
        raise CannotReplay(
            f"XLA can read none of the files of {program.name}.",
            "Capture with dialect='stablehlo'.",
        )
    content = program.read(form)
    try:
        return form, parse(form, content)
    except Exception as error:  # XLA's parsers have no class that all versions share
        if other:
            raise CannotReplay(
                f"{program.name} can't be read by jaxlib: {describe_error(error)} ({other})",
                "Use the version of jaxlib that wrote it, or a later one.",
            ) from error
        raise DamagedCapture(
            f"{program.paths[form]} can't be read by jaxlib: {describe_error(error)}", _DAMAGED
        ) from error


def stablehlo(program: ProgramFiles) -> tuple[bytes, bool]:
    """Return the program as StableHLO or VHLO, and whether it is the captured StableHLO text.

    The text comes first if this jaxlib can parse it, even if another version wrote it: it has
    line numbers, and CHLO's operations are not decomposed. VHLO comes second: XLA folds constants
    when it makes HLO.
    """
    from brainpy_probe.compat import bindings

    if "stablehlo" in program.dialects:
        content = program.read("stablehlo")
        try:
            bindings.read_mlir(content)
        except Exception:  # MLIR's parser has no class that all versions share
            return parsed(program, bindings.as_stablehlo)[1], False
        return content, True
    if "vhlo" in program.paths:
        return program.read("vhlo"), False
    return parsed(program, bindings.as_stablehlo)[1], False


def rounding_reasons(program: ProgramFiles, form: str, content: bytes) -> list[str]:
    """Return why XLA may compile a form of a program to code that rounds differently.

    Parameters
    ----------
    program : ProgramFiles
        The program.
    form : str
        The form that is compiled.
    content : bytes
        That form as StableHLO text or VHLO bytecode.
    """
    from brainpy_probe.analysis.replaying.verdict import GPU_PRODUCTS
    from brainpy_probe.compat import bindings
    from brainpy_probe.ir.executables.devices import choose
    from brainpy_probe.ir.executables.execution import processor, xla_flags

    ran = program.environment
    other = bindings.version_remark(ran.jaxlib)
    reasons = [f"it was {other}"] if other else []
    if program.fidelity.placement.on_cpu and ran.processor and ran.processor != processor():
        reasons.append("it ran on another CPU, for which XLA compiles other code")
    if ran.xla_flags is not None and ran.xla_flags != xla_flags():
        reasons.append(f"it was compiled with XLA_FLAGS={ran.xla_flags!r}")
    if program.is_portable:
        reasons.append("the portable program may take sums in another order")
    if form == "vhlo" and any(program.fidelity.chlo.values()):
        reasons.append("CHLO's operations are decomposed in VHLO")
    placement = program.fidelity.placement
    on_gpu = ran.backend == "gpu" if program.is_portable else not placement.on_cpu
    if on_gpu and choose(placement)[0].platform == "cpu" and _PRODUCTS.search(content):
        reasons.append(GPU_PRODUCTS)
    return reasons
