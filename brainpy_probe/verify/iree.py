"""Compiles a program with IREE, which knows nothing of BrainPy, and runs it; knows no capture."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.util import find_spec

import numpy as np

from brainpy_probe.errors import ProbeError
from brainpy_probe.format.arrays import Array

__all__ = ["FLAGS", "compile_for_cpu", "require", "runner"]


# What iree-compile is told: StableHLO or VHLO, for this machine's CPU, doubles as they are. By
# itself it makes floats of doubles, in main's signature too (3.13).
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
    missing = [one for one in ("iree.compiler", "iree.runtime") if not _is_there(one)]
    if missing:
        raise ProbeError(
            f"{' and '.join(missing)} can't be imported here.",
            "Install them with: pip install 'brainpy-probe[iree]'",
        )


def _is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # there is no package iree
        return False


def compile_for_cpu(source: bytes) -> bytes:
    """Compile a StableHLO text or VHLO bytecode for this machine's CPU.

    Raises
    ------
    ProbeError
        With the compiler's first error, if it can't.
    """
    from iree import compiler

    try:
        return bytes(compiler.compile_str(source, extra_args=list(FLAGS)))
    except compiler.CompilerToolError as error:
        lines = [line for line in str(error).splitlines() if "error:" in line]
        told = lines[0].strip() if lines else str(error).strip()[:300]
        raise ProbeError(f"IREE can't compile it: {told}") from error


def runner(compiled: bytes) -> Callable[[Iterable[Array]], list[Array]]:
    """Return what runs ``main`` on the CPU, in as many threads as there are cores."""
    from iree import runtime

    config = runtime.Config("local-task")
    context = runtime.SystemContext(config=config)
    context.add_vm_module(runtime.VmModule.copy_buffer(config.vm_instance, compiled))
    (name,) = (one for one in dict(context.modules) if one != "hal")
    main = context.modules[name]["main"]

    def run(arguments: Iterable[Array]) -> list[Array]:
        made = main(*arguments)
        results = made if isinstance(made, (tuple, list)) else [made]
        return [np.asarray(one.to_host()) for one in results]

    return run
