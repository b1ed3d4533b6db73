"""Compiles a captured program with jaxlib alone, with the kernels that it calls."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import msgspec

from brainpy_probe.errors import CannotReplay, first_line
from brainpy_probe.format.arrays import Array
from brainpy_probe.format.manifest.program_records import ProgramRecord
from brainpy_probe.ir.constants import with_constants
from brainpy_probe.ir.executables import execution, kernels
from brainpy_probe.ir.executables.devices import choose
from brainpy_probe.ir.placement import computes_parts

__all__ = [
    "arguments_of",
    "compiled",
    "compiled_in_time",
    "constants_of",
    "on_cpu_devices",
    "register",
]


def compiled(
    record: ProgramRecord, content: bytes, arguments: Sequence[Array], *, separate_ops: bool
) -> execution.Executable:
    """Compile a program that calls BrainPy's kernels through Python, as in the simulation.

    With ``separate_ops`` the ops of a small loop are not compiled as one piece.

    Raises
    ------
    CannotReplay
        If it can't be compiled in this environment.
    """
    register(record)
    return compiled_in_time(record, content, arguments, separate_ops=separate_ops)[0]


def arguments_of(record: ProgramRecord, arrays: Mapping[str, Array]) -> list[Array]:
    """Return the arguments of a program in order, from arrays by group and name.

    Raises
    ------
    CannotReplay
        If an array is missing, because the run took over its memory.
    """
    missing = [spec.path for spec in record.arguments if spec.path not in arrays]
    if missing:
        raise CannotReplay(
            f"{record.name} can't be run again: the capture has no value of {', '.join(missing)}.",
            "The run took over their memory (donate_argnums), or each of its processes had a part "
            "of them (program.parts() of each rank's capture). Pass the values as overrides.",
        )
    return [arrays[spec.path] for spec in record.arguments]


def on_cpu_devices(record: ProgramRecord) -> ProgramRecord:
    """Return the record of a program that runs on as many CPU devices, wherever it ran.

    Raises
    ------
    CannotReplay
        If it calls kernels of another platform.
    """
    fidelity, placement = record.fidelity, record.fidelity.placement
    if placement.on_cpu:
        return record
    if fidelity.custom_calls:
        raise CannotReplay(
            f"{record.name} calls kernels of {placement.platform}, which a CPU does not have: "
            f"{', '.join(fidelity.custom_calls)}.",
            "Capture with portable=True, and use program.portable.",
        )
    moved = msgspec.structs.replace(placement, platform="cpu")
    return msgspec.structs.replace(
        record, fidelity=msgspec.structs.replace(fidelity, placement=moved)
    )


def register(record: ProgramRecord) -> None:
    """Register the kernels that a program calls.

    Raises
    ------
    CannotReplay
        If they can't be registered in this process.
    """
    fidelity = record.fidelity
    # Done before jaxlib creates a device: see devices.cpu.
    platform = choose(fidelity.placement)[0].platform
    if fidelity.host_callbacks:
        raise CannotReplay(
            f"{record.name} calls back into the Python process of the capture: "
            f"{', '.join(fidelity.host_callbacks)}.",
            "Capture it without the callback.",
        )
    problem = kernels.register(fidelity.custom_calls, record.kernels, platform)
    missing = kernels.unregistered(fidelity.custom_calls, platform)
    if missing and (problem or not execution.refuses_unknown_calls()):
        raise _missing_kernels(record, missing, problem)


def compiled_in_time(
    record: ProgramRecord, content: bytes, arguments: Sequence[Array], *, separate_ops: bool = False
) -> tuple[execution.Executable, float]:
    """Compile a program whose kernels are registered; return it, and the compile time.

    Raises
    ------
    CannotReplay
        If it can't be compiled in this environment.
    """
    placement = record.fidelity.placement
    _check_devices(record, content)
    begun = time.perf_counter()
    try:
        content = with_constants(content, constants_of(record, arguments))
        executable = execution.Executable(content, placement, separate_ops=separate_ops)
    except Exception as error:  # XLA's exception class differs between versions
        missing = kernels.unregistered(record.fidelity.custom_calls, choose(placement)[0].platform)
        if any(target in str(error) for target in missing):
            raise _missing_kernels(record, missing, "") from error
        raise CannotReplay(
            f"{record.name} can't be compiled by jaxlib {execution.version()}: {first_line(error)}."
        ) from error
    return executable, time.perf_counter() - begun


def _check_devices(record: ProgramRecord, content: bytes) -> None:
    """Check that the devices are present if a program's ops compute parts of arrays.

    Raises
    ------
    CannotReplay
        If there is only one device.
    """
    placement = record.fidelity.placement
    if placement.devices == 1 or len(choose(placement)[0].devices) > 1:
        return
    if placement.replicas == 1 and not computes_parts(content):
        return
    raise CannotReplay(
        f"{record.name} computes parts of its arrays on {placement.devices} devices (shard_map or "
        "pmap), and there is only one here.",
        f"Set XLA_FLAGS=--xla_force_host_platform_device_count={placement.devices} before Python "
        "starts, or capture with portable=True and replay program.portable.",
    )


def constants_of(record: ProgramRecord, arguments: Sequence[Array]) -> dict[int, Array]:
    """Return the arguments that were constants in the run's compiled code, by position."""
    if not record.compiled_in:
        return {}
    return {
        position: array
        for position, (spec, array) in enumerate(zip(record.arguments, arguments, strict=True))
        if spec.role == "constant"
    }


def _missing_kernels(record: ProgramRecord, missing: Sequence[str], problem: str) -> CannotReplay:
    """Return the error for kernels that can't be called here."""
    placement = record.fidelity.placement
    if not placement.on_cpu and choose(placement)[0].platform == "cpu":
        return CannotReplay(
            f"{record.name} ran on {placement.platform}, which is not there. It calls kernels that "
            f"a CPU does not have: {', '.join(missing)}.",
            "Replay it where JAX has such a device, or capture with portable=True and replay "
            "program.portable (brainpy-probe replay --portable).",
        )
    message = f"{record.name} calls kernels that only BrainPy registers: {', '.join(missing)}."
    if problem:
        message += f" {problem}"
    if any(target.startswith("brainevent_") for target in missing):
        remedy = (
            "Install the BrainPy with which it was captured, or capture with portable=True and "
            "replay program.portable (brainpy-probe replay --portable)."
        )
    else:
        remedy = (
            "These kernels exist only in the process of the capture, and BrainPy up to 2.6 can't "
            "lower without them. Capture with a later BrainPy and portable=True."
        )
    return CannotReplay(message, remedy)
