"""Registers the kernels that a program calls, if the package that contains them is installed.

brainevent registers Python callbacks with XLA, which call kernels that numba compiled. XLA can also
call these kernels directly: the same machine code, in a fraction of the time.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.util
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from loguru import logger

from brainpy_probe.compat import bindings, lookup
from brainpy_probe.compat.lookup import PrivateName
from brainpy_probe.errors import CannotReplay, PrivateNameMissing, describe_error, first_line
from brainpy_probe.format.arrays import dtype_of
from brainpy_probe.format.digests import digest_of
from brainpy_probe.format.manifest.program_records import AbstractArray, KernelCall, ProgramRecord
from brainpy_probe.ir import mlir
from brainpy_probe.ir.executables import execution, ffi

if TYPE_CHECKING:
    from jax.core import ShapedArray

__all__ = ["call_directly", "check_calls", "register", "unregistered"]

_HANDLERS = PrivateName(
    "brainevent's handlers of its kernels, by the names of their custom calls",
    ("brainevent._op.numba_ffi:_NUMBA_CPU_FFI_HANDLES",),
    "brainevent 0.2.1, 0.3.0; .kernel is the numba function, XLA calls ._callback",
    era="brainstate",
)

_INSTALL = 'pip install "brainpy[cpu]"'

# brainevent names a kernel by a hash of its content, so that another process gives it the same
# name. A kernel whose content can't be hashed gets a number, which is meaningless in another
# process.
_CONTENT_NAME = re.compile(r"brainevent_numba_ffi_[0-9a-f]{16}")


def register(targets: Iterable[str], calls: Sequence[KernelCall], platform: str = "cpu") -> str:
    """Register the kernels of jaxlib, and BrainPy's event-driven kernels from brainevent.

    JAX itself registers jaxlib's kernels for other platforms than a CPU.

    Parameters
    ----------
    targets : iterable of str
        The targets of a program's custom calls.
    calls : sequence of KernelCall
        The calls of BrainPy's kernels in its record.
    platform : str
        JAX's name of the platform on which the program is to run.

    Returns
    -------
    str
        A sentence that describes a failure; empty if there was none.
    """
    targets = tuple(targets)
    if platform == "cpu":
        try:
            execution.register_jaxlib_kernels(targets)
        except ImportError as error:
            return f"LAPACK's kernels need SciPy, which can't be imported: {first_line(error)}."
    missing = unregistered(targets, platform)
    if platform == "cpu":
        missing = list(filter(_CONTENT_NAME.fullmatch, missing))
    if not missing or not calls:
        return ""
    try:
        kernels = importlib.import_module("brainevent").get_registry()
    except ImportError as error:
        return f"brainevent can't be imported: {first_line(error)}."
    for call in calls:
        try:
            _lower(kernels[call.name], call, platform)
        except Exception as error:  # another version of brainevent may take other parameters
            if importlib.util.find_spec("numba") is None:
                return f"{call.name} needs numba, which is not installed: {_INSTALL}."
            return (
                f"the installed brainevent can't register {call.name} with the recorded "
                f"parameters: {first_line(error)}."
            )
    return ""


def unregistered(targets: Iterable[str], platform: str = "cpu") -> list[str]:
    """Return the targets that XLA can't call on a platform, if it lists its targets."""
    known = execution.registered_targets(platform)
    return [target for target in targets if target not in known]


def call_directly(content: bytes, targets: Iterable[str]) -> tuple[bytes, tuple[str, ...]]:
    """Let XLA call brainevent's kernels without Python in between, where possible.

    Parameters
    ----------
    content : bytes
        A program as VHLO bytecode or StableHLO text.
    targets : iterable of str
        The targets of its custom calls, which must be registered.

    Returns
    -------
    bytes
        The program with new targets for the kernels' custom calls, or ``content`` itself.
    tuple of str
        The targets that were replaced.
    """
    if not any(_CONTENT_NAME.fullmatch(target) for target in targets):
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
        if not _CONTENT_NAME.fullmatch(target) or target not in known:
            continue
        try:
            name = _register_direct(target, known[target], ffi.Signature.of(operation))
        except Exception as error:  # numba raises many classes; the Python callback works
            logger.info("{} is called through Python: {}", target, first_line(error))
            continue
        with module.context:
            operation.attributes["call_target_name"] = bindings.take("mlir").StringAttr.get(name)
        direct.add(target)
    return bindings.mlir_text(module).encode() if direct else content, tuple(sorted(direct))


@functools.cache
def _register_direct(target: str, known: Any, signature: ffi.Signature) -> str:
    """Register a direct handler in addition to brainevent's; return its target name.

    Raises
    ------
    ValueError
        If the kernel is multithreaded: numba aborts a process in which two such kernels run at the
        same time. Calls through Python run one at a time.
    """
    import jax

    if known.kernel.targetoptions.get("parallel"):
        raise ValueError("it is multithreaded")
    fallback = ctypes.cast(known._callback, ctypes.c_void_p).value or 0
    handler = ffi.compile_handler(known.kernel, signature, fallback)
    name = f"{target}_direct_{digest_of(repr(signature).encode())[:8]}"
    capsule = jax.ffi.pycapsule(handler.address)  # type: ignore[no-untyped-call]
    jax.ffi.register_ffi_target(name, capsule, platform="cpu")
    return name


def _lower(kernel: Any, call: KernelCall, platform: str) -> None:
    """Lower one call of a kernel, during which brainevent registers the kernel."""
    import jax

    def called(*arguments: Any) -> Any:
        parameters = {name: _abstract(value) for name, value in call.parameters.items()}
        return kernel.primitive.bind(*arguments, **parameters)

    avals = [_aval(shape, dtype) for shape, dtype in call.arguments]
    jax.jit(called).trace(*avals).lower(lowering_platforms=(platform,))


def _abstract(value: Any) -> Any:
    """Return a parameter as it was before it was encoded as JSON."""
    if isinstance(value, tuple):
        return tuple(map(_abstract, value))
    if isinstance(value, AbstractArray):
        return _aval(value.shape, value.dtype)
    return value


def _aval(shape: Iterable[int], dtype: str) -> ShapedArray:
    from jax.core import ShapedArray

    return ShapedArray(tuple(shape), dtype_of(dtype))


# Targets that XLA compiles itself: operations that MHLO has and StableHLO lacks.
_MHLO_PREFIX = "mhlo."


def check_calls(record: ProgramRecord, content: bytes, jaxlib: str) -> None:
    """Check the custom calls of a program, given as StableHLO text or VHLO bytecode.

    Parameters
    ----------
    record : ProgramRecord
        The program.
    content : bytes
        Its content.
    jaxlib : str
        The version of jaxlib that wrote it.

    Raises
    ------
    CannotReplay
        If it calls back into Python, calls a target that its record does not list, or can't be
        read.
    """
    try:
        module = bindings.read_mlir(content)
        found = {
            target
            for target in mlir.custom_calls(mlir.operations(module))
            if not target.startswith(_MHLO_PREFIX)
        }
    except Exception as error:  # MLIR's exception class differs between versions
        remark = bindings.version_remark(jaxlib)
        raise CannotReplay(
            f"{record.name} can't be read by jaxlib: {describe_error(error)}"
            + (f" ({remark})" if remark else ""),
            "Use the version of jaxlib that wrote it, or a later one."
            if remark
            else "brainpy-probe verify says which of its files is damaged.",
        ) from error
    named = record.fidelity.custom_calls.keys() | set(record.fidelity.host_callbacks)
    hidden = sorted(found - named)
    if hidden:
        raise CannotReplay(
            f"{record.name} calls {', '.join(hidden)}, which the manifest does not list.",
            "The capture was changed after it was written: brainpy-probe verify shows where.",
        )
    callbacks = sorted(filter(mlir.is_callback, found - set(record.fidelity.host_callbacks)))
    if callbacks:
        raise CannotReplay(
            f"{record.name} calls back into the Python process of the capture: "
            f"{', '.join(callbacks)}.",
            "Capture it without the callback.",
        )
