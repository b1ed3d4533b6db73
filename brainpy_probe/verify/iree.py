"""Compiles a program with IREE, a compiler that does not know BrainPy, and runs it."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

import numpy as np

from brainpy_probe.compat.types import Buffer
from brainpy_probe.errors import ProbeError
from brainpy_probe.format.arrays import Array

__all__ = ["FLAGS", "Executable", "compile_for_cpu", "require"]


# Options of iree-compile: StableHLO or VHLO input, this machine's CPU, 64-bit floats unchanged. By
# default it converts them to 32 bits, also in main's signature (3.13).
FLAGS = (
    "--iree-input-type=auto",
    "--iree-input-demote-f64-to-f32=false",
    "--iree-hal-target-device=local",
    "--iree-hal-local-target-device-backends=llvm-cpu",
    "--iree-llvmcpu-target-cpu=host",
)


def require() -> None:
    """Check that IREE is installed.

    Raises
    ------
    ProbeError
        If it is not installed.
    """
    missing = [name for name in ("iree.compiler", "iree.runtime") if not _is_installed(name)]
    if missing:
        raise ProbeError(
            f"{' and '.join(missing)} can't be imported.",
            "Install them with: pip install 'brainpy-probe[iree]'",
        )


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # the parent package iree is missing
        return False


def compile_for_cpu(source: bytes) -> bytes:
    """Compile a StableHLO text or VHLO bytecode for this machine's CPU.

    Raises
    ------
    ProbeError
        With the compiler's first error, if the compilation fails.
    """
    from iree import compiler

    try:
        return bytes(compiler.compile_str(source, extra_args=list(FLAGS)))
    except compiler.CompilerToolError as error:
        lines = [line for line in str(error).splitlines() if "error:" in line]
        reason = lines[0].strip() if lines else str(error).strip()[:300]
        raise ProbeError(f"IREE can't compile it: {reason}") from error


class Executable:
    """The ``main`` function of a compiled program, on the CPU with one thread per core.

    Parameters
    ----------
    compiled : bytes
        The result of :func:`compile_for_cpu`.
    """

    def __init__(self, compiled: bytes) -> None:
        from iree import runtime

        self._config = runtime.Config("local-task")
        context = runtime.SystemContext(config=self._config)
        context.add_vm_module(runtime.VmModule.copy_buffer(self._config.vm_instance, compiled))
        (name,) = (name for name in dict(context.modules) if name != "hal")
        self._main = context.modules[name]["main"]

    def put(self, arrays: Iterable[Array]) -> list[Buffer]:
        """Return arrays as IREE's buffers."""
        from iree import runtime

        device = self._config.device
        return [runtime.asdevicearray(device, np.asarray(array, order="C")) for array in arrays]

    def run(self, arguments: Iterable[Buffer]) -> list[Buffer]:
        """Run ``main`` on buffers."""
        returned = self._main(*arguments)
        return list(returned) if isinstance(returned, (tuple, list)) else [returned]

    def take(self, results: Iterable[Buffer]) -> list[Array]:
        """Return buffers as NumPy arrays."""
        return [np.asarray(result.to_host()) for result in results]
