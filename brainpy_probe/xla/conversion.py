"""A module's bytecode as complete text in any dialect; knows no capture."""

from __future__ import annotations

from brainpy_probe.errors import CannotConvert, first_line
from brainpy_probe.settings import Dialect
from brainpy_probe.xla import bindings, proof

__all__ = ["converted"]


def converted(name: str, content: bytes, dialect: Dialect) -> str:
    """Return a module's text in a dialect, parsed back before it is returned.

    Parameters
    ----------
    name : str
        What the module is called, for errors.
    content : bytes
        MLIR bytecode of StableHLO, as JAX handed it to XLA.
    dialect : str
        ``stablehlo``, ``mhlo`` or ``hlo``.

    Raises
    ------
    CannotConvert
        If this jaxlib can't read the bytecode or write that dialect.
    """
    try:
        context = bindings.mlir_context()
        module = bindings.parse_mlir(content, context)
        if dialect == "hlo":
            hlo = bindings.hlo_of(module)
            text = bindings.hlo_text(hlo)
            back = bindings.hlo_canonical_text(bindings.parse_hlo(text))
            difference = proof.first_difference(bindings.hlo_canonical_text(hlo), back)
        else:
            if dialect == "mhlo":
                proof.to_mhlo(module)
            text = bindings.mlir_text(module)
            difference = proof.reparse(text, context).detail
    except Exception as error:
        raise CannotConvert(name, dialect, first_line(error)) from error
    if difference:
        raise CannotConvert(name, dialect, f"its text is read back as another: {difference}")
    return text
