"""Compiles a program with IREE, a compiler without knowledge of BrainPy, and runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.util import find_spec

import numpy as np

from brainpy_probe.errors import ProbeError
from brainpy_probe.format.arrays import Array

__all__ = ["FLAGS", "compile_for_cpu", "require", "runner"]


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
        If it is not.
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


def runner(compiled: bytes) -> Callable[[Iterable[Array]], list[Array]]:
    """Return a function that runs ``main`` on the CPU, with as many threads as cores."""
    from iree import runtime

    config = runtime.Config("local-task")
    context = runtime.SystemContext(config=config)
    context.add_vm_module(runtime.VmModule.copy_buffer(config.vm_instance, compiled))
    (name,) = (name for name in dict(context.modules) if name != "hal")
    main = context.modules[name]["main"]

    def run(arguments: Iterable[Array]) -> list[Array]:
        returned = main(*arguments)
        results = returned if isinstance(returned, (tuple, list)) else [returned]
        return [np.asarray(result.to_host()) for result in results]

    return run
