"""Registers the kernels that a program calls, where the package that has them is installed.

brainevent has XLA call Python, and Python the kernel that numba compiled. A program that runs here
can have XLA call that kernel itself: the same machine code, in a fraction of the time.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.util
import re
from collections.abc import Iterable, Sequence
from typing import Any

from loguru import logger

from brainpy_probe.compat import bindings, lookup
from brainpy_probe.compat.lookup import PrivateName
from brainpy_probe.errors import CannotReplay, PrivateNameMissing, describe_error, first_line
from brainpy_probe.format.arrays import dtype_of
from brainpy_probe.format.digests import digest_of
from brainpy_probe.format.program_records import KernelCall, ProgramRecord
from brainpy_probe.ir import execution, ffi, mlir

__all__ = ["called_directly", "check_calls", "register", "unknown"]

_HANDLERS = PrivateName(
    "brainevent's handlers of its kernels, by the names of their custom calls",
    ("brainevent._op.numba_ffi:_NUMBA_CPU_FFI_HANDLES",),
    "brainevent 0.2.1, 0.3.0; each has its numba function as .kernel, what XLA calls as ._callback",
    era="brainstate",
)

_INSTALL = 'pip install "brainpy[cpu]"'

# brainevent names a kernel by its content, so that another process gives it the same name. A
# kernel whose content it can't hash has a number, which says nothing there.
_OF_CONTENT = re.compile(r"brainevent_numba_ffi_[0-9a-f]{16}")


def register(targets: Iterable[str], calls: Sequence[KernelCall]) -> str:
    """Register what can be: jaxlib's own kernels, BrainPy's event-driven ones from brainevent.

    Parameters
    ----------
    targets : iterable of str
        The custom calls of a program.
    calls : sequence of KernelCall
        What its capture recorded of BrainPy's kernels.

    Returns
    -------
    str
        A sentence on what went wrong, or nothing.
    """
    targets = tuple(targets)
    try:
        execution.register_own(targets)
    except ImportError as error:
        return f"LAPACK can't be had: {first_line(error)}."
    if not any(_OF_CONTENT.fullmatch(target) for target in unknown(targets)):
        return ""
    try:
        kernels = importlib.import_module("brainevent").get_registry()
    except ImportError as error:
        return f"brainevent can't be imported: {first_line(error)}."
    for call in calls:
        try:
            _lower(kernels[call.name], call)
        except Exception as error:  # another brainevent may take other parameters
            if importlib.util.find_spec("numba") is None:
                return f"{call.name} needs numba, which is not installed: {_INSTALL}."
            return f"brainevent here has no such {call.name}: {first_line(error)}."
    return ""


def unknown(targets: Iterable[str]) -> list[str]:
    """Return the custom calls that XLA can't make, as far as it says."""
    known = execution.registered()
    return [target for target in targets if target not in known]


def called_directly(content: bytes, targets: Iterable[str]) -> tuple[bytes, tuple[str, ...]]:
    """Have XLA call brainevent's kernels with no Python in between, as far as that can be.

    Parameters
    ----------
    content : bytes
        A program as VHLO bytecode or StableHLO text.
    targets : iterable of str
        Its custom calls, registered.

    Returns
    -------
    bytes
        The program with other names for the kernels' custom calls, or ``content`` itself.
    tuple of str
        The custom calls that have other names.
    """
    if not any(_OF_CONTENT.fullmatch(target) for target in targets):
        return content, ()
    try:
        known = lookup.find(_HANDLERS)
    except PrivateNameMissing as error:
        logger.info("Kernels are called through Python: {}", error)
        return content, ()
    module, direct = bindings.read_mlir(content), set()
    for operation in mlir.operations(module):
        if operation.name != "stablehlo.custom_call":
            continue
        target = mlir.string(operation.attributes["call_target_name"])
        if not _OF_CONTENT.fullmatch(target) or target not in known:
            continue
        try:
            own = _registered(target, known[target], ffi.Signature.of(operation))
        except Exception as error:  # numba's are many; brainevent's way is left
            logger.info("{} is called through Python: {}", target, first_line(error))
            continue
        with module.context:
            operation.attributes["call_target_name"] = bindings.take("mlir").StringAttr.get(own)
        direct.add(target)
    return bindings.mlir_text(module).encode() if direct else content, tuple(sorted(direct))


@functools.cache
def _registered(target: str, known: Any, signature: ffi.Signature) -> str:
    """Register a handler beside brainevent's; return its name.

    Raises
    ------
    ValueError
        If the kernel has threads of its own: numba ends a process in which two such run at once,
        and calls from Python are one at a time.
    """
    import jax

    if known.kernel.targetoptions.get("parallel"):
        raise ValueError("it has threads of its own")
    otherwise = ctypes.cast(known._callback, ctypes.c_void_p).value or 0
    made = ffi.handler(known.kernel, signature, otherwise)
    name = f"{target}_direct_{digest_of(repr(signature).encode())[:8]}"
    capsule = jax.ffi.pycapsule(made.address)  # type: ignore[no-untyped-call]
    jax.ffi.register_ffi_target(name, capsule, platform="cpu")
    return name


def _lower(kernel: Any, call: KernelCall) -> None:
    """Lower one call of a kernel for the CPU: that is when brainevent registers it."""
    import jax

    def called(*arguments: Any) -> Any:
        parameters = {name: _abstract(value) for name, value in call.parameters.items()}
        return kernel.primitive.bind(*arguments, **parameters)

    forms = [_aval(shape, dtype) for shape, dtype in call.arguments]
    jax.jit(called).trace(*forms).lower(lowering_platforms=("cpu",))


def _abstract(value: Any) -> Any:
    """Return a parameter as it was before it was written as JSON."""
    if isinstance(value, list):
        return tuple(map(_abstract, value))
    if isinstance(value, dict):
        return _aval(value["shape"], value["dtype"])
    return value


def _aval(shape: Iterable[int], dtype: str) -> Any:
    from jax.core import ShapedArray

    return ShapedArray(tuple(shape), dtype_of(dtype))


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
            f"{record.name} can't be read by jaxlib: {describe_error(error)}",
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
