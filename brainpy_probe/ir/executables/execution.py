"""Compiles and runs programs with jaxlib alone.

Version facts were seen on jaxlib 0.4.13, 0.4.23, 0.4.30, 0.10.2 and 0.12.0, both in a process that
has imported JAX and in one in which ``import jax`` fails.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import platform
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brainpy_probe.compat import bindings, jax_process
from brainpy_probe.compat.types import Buffer
from brainpy_probe.format.arrays import Array
from brainpy_probe.ir.executables import devices, sharded
from brainpy_probe.ir.protobuf import encode_field

if TYPE_CHECKING:
    from brainpy_probe.compat.bindings import HloModule
    from brainpy_probe.format.manifest.program_records import Placement

__all__ = [
    "Executable",
    "cost_analysis",
    "hoists_small_loops",
    "processor",
    "refuses_unknown_calls",
    "register_jaxlib_kernels",
    "registered_targets",
    "version",
    "xla_flags",
]


# CompileOptionsProto.executable_build_options, .debug_options, .xla_backend_extra_options, which
# has no Python attribute (0.10.2, 0.12.0: xla/pjrt/proto/compile_options.proto, xla/xla.proto; read
# by SmallWhileLoopHoistingPass of XLA's CPU compiler). It is appended to a serialised message, and
# thereby merged into it.
_SMALL_LOOPS = encode_field(1, b"xla_cpu_small_while_loop_byte_threshold") + encode_field(2, b"0")
_NO_SMALL_LOOPS = encode_field(3, encode_field(3, encode_field(500, _SMALL_LOOPS)))


# JAX lowers sums along an axis to this op for a GPU. XLA's CPU compiler ends the process when it
# compiles the op (0.12.0: "Check failed: operand_maps.size() == 1").
_ENDS_THE_PROCESS = b"chlo.scan"


@functools.cache
def _jaxlib() -> Any:
    """Return the Python side of XLA's client, which needs no JAX."""
    return bindings.take("client")


def version() -> str:
    """Return jaxlib's version."""
    import jaxlib

    return str(jaxlib.__version__)


# Instructions that affect how XLA vectorises and contracts floats, on x86 and on ARM.
_VECTOR_FLAGS = re.compile(r"(avx|fma|sse4|asimd|sve|f16c|amx)\w*")


@functools.cache
def processor() -> str:
    """Return the model and the vector instructions of this CPU; empty if they are unknown.

    XLA's code, and therefore its rounding, depends on them.
    """
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor()
    lines = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    facts = {name.strip().lower(): value.strip() for name, _, value in lines}
    model = facts.get("model name") or " ".join(
        facts[name] for name in ("cpu implementer", "cpu part") if name in facts
    )
    flags = facts.get("flags") or facts.get("features") or ""
    return " ".join([model, *sorted(filter(_VECTOR_FLAGS.fullmatch, flags.split()))]).strip()


# Flags that do not change the code: where files are dumped, and how many devices the host has.
_NO_CODE = re.compile(r"--xla_(dump_|force_host_platform_device_count)")


def xla_flags() -> str:
    """Return the flags in ``XLA_FLAGS`` that can change the compiled code, in order.

    XLA reads the variable as a file's name if it does not begin with a hyphen.
    """
    text = os.environ.get("XLA_FLAGS", "").strip()
    if text and not text.startswith("-"):
        try:
            text = Path(text).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
    return " ".join(flag for flag in text.split() if not _NO_CODE.match(flag))


def registered_targets(platform: str = "cpu") -> frozenset[str]:
    """Return the targets of custom calls that XLA can call on a platform, if it lists them.

    ``custom_call_targets`` is in 0.4.30, 0.10.2, 0.12.0; before 0.10 its list is incomplete.
    jaxlib's own kernels are included after :func:`register_jaxlib_kernels` initialised them.
    """
    listed = _listed_targets(platform)
    return listed if platform != "cpu" else listed - _jaxlib_kernels().keys() | _INITIALISED


def _listed_targets(platform: str = "cpu") -> frozenset[str]:
    devices.cpu()  # targets that were registered earlier are passed to a new client
    list_targets = getattr(_jaxlib(), "custom_call_targets", None)
    return frozenset() if list_targets is None else frozenset(list_targets(platform))


def refuses_unknown_calls() -> bool:
    """Return whether XLA raises an error when it compiles a custom call that is not registered.

    0.10.2, 0.12.0: "No FFI handler registered for ...". Earlier versions compile it, print "JIT
    session error: Symbols not found" or raise "Symbol main.404 not found", and may crash when it
    runs.
    """
    return hasattr(devices.cpu().client, "compile_and_load")


def hoists_small_loops() -> bool:
    """Return whether XLA compiles a small loop as one piece by default: 0.10.2, 0.12.0."""
    return hasattr(devices.cpu().client, "compile_and_load")


def register_jaxlib_kernels(targets: Iterable[str]) -> None:
    """Register and initialise the kernels of jaxlib that are among some targets.

    LAPACK's kernels take their functions from SciPy. If they are registered but not initialised,
    they call a null pointer, which ends the process (all versions). JAX registers them when it is
    imported, and initialises them when it lowers a program that calls them; this does both.

    ``jaxlib.lapack`` registers its kernels when it is imported up to 0.4.30; 0.10.2 and 0.12.0 list
    them in ``registrations``. ``jaxlib.ducc_fft`` is in 0.4.13, 0.4.23 and 0.4.30, with one kernel;
    it registers the kernel when it is imported.

    Raises
    ------
    ImportError
        If SciPy is not installed.
    """
    libraries = _jaxlib_kernels()
    for library in sorted({libraries[target] for target in targets if target in libraries}):
        module = importlib.import_module(f"jaxlib.{library}")
        if library == "lapack":
            module._lapack.initialize()
        listed = _listed_targets()
        for platform_name, kernels in getattr(module, "registrations", dict)().items():
            for name, kernel, api in kernels:
                if name not in listed:
                    _jaxlib().register_custom_call_target(
                        name, kernel, platform=platform_name, api_version=api
                    )
        _INITIALISED.update(name for name, owner in libraries.items() if owner == library)


# Kernels of jaxlib that this process has initialised.
_INITIALISED: set[str] = set()


@functools.cache
def _jaxlib_kernels() -> dict[str, str]:
    """Return the targets of jaxlib's kernels, each with the library that contains it."""
    return {
        target: library
        for library in ("lapack", "ducc_fft")
        if importlib.util.find_spec(f"jaxlib.{library}") is not None
        for target in importlib.import_module(f"jaxlib.cpu._{library}").registrations()
    }


def cost_analysis(module: HloModule) -> dict[str, float]:
    """Return XLA's cost analysis of an HLO module; the body of a loop is counted once.

    JAX's ``Lowered.cost_analysis`` calls the same function.
    """
    counted = bindings.take("cost")(devices.cpu().client, module)
    return {name: float(value) for name, value in counted.items()}


class Executable:
    """A StableHLO program, compiled by XLA with default options.

    Parameters
    ----------
    content : bytes
        VHLO bytecode, or StableHLO text.
    placement : Placement, optional
        The devices for which it is lowered. If they are missing here, it runs on others: see
        :func:`.devices.choose`. By default it runs on one CPU device.
    separate_ops : bool
        Keep the ops of small loops separate. XLA otherwise compiles such a loop as one piece
        (0.10.2, 0.12.0), in which the profiler sees no ops.
    """

    def __init__(
        self, content: bytes, placement: Placement | None = None, *, separate_ops: bool = False
    ) -> None:
        jaxlib = _jaxlib()
        on = devices.cpu() if placement is None else devices.choose(placement)[0]
        if on.platform == "cpu" and _ENDS_THE_PROCESS in content:
            module = bindings.read_mlir(content)
            bindings.chlo_to_stablehlo(module)
            content = bindings.mlir_text(module, locations=True).encode()
        options = jaxlib.CompileOptions()
        if placement is not None and len(on.devices) > 1:
            sharded.distribute(options, placement)
        if on.platform == "cuda":
            folder = jax_process.cuda_folder()
            if folder:
                options.executable_build_options.debug_options.xla_gpu_cuda_data_dir = folder
        if separate_ops and on.platform == "cpu":
            options = options.ParseFromString(options.SerializeAsString() + _NO_SMALL_LOOPS)
        if hasattr(on.client, "compile_and_load"):  # 0.10.2, 0.12.0: these accept VHLO
            self._loaded = on.client.compile_and_load(
                content, jaxlib.DeviceList(on.devices), options
            )
        else:
            if bindings.is_bytecode(content):  # 0.4.13, 0.4.23: "dialect 'vhlo' is unknown"
                content = jaxlib._xla.mlir.deserialize_portable_artifact(content)
            self._loaded = on.client.compile(content, options)
        several = len(on.devices) > 1
        self._program = (
            sharded.ShardedProgram(self._loaded, on)
            if several
            else devices.SingleDeviceProgram(self._loaded, on)
        )

    def optimized(self) -> HloModule:
        """Return the optimised HLO module, with the locations of its instructions."""
        return self._loaded.hlo_modules()[0]

    def put(self, arrays: Sequence[Array]) -> list[Buffer]:
        """Return arrays as XLA's buffers, which may share memory with the arrays."""
        return self._program.put([np.asarray(array, order="C") for array in arrays])

    def run(self, arguments: Sequence[Buffer]) -> list[Buffer]:
        """Run the program on buffers that :meth:`put` returned, and wait for XLA's results."""
        return self._program.run(arguments)

    def take(self, results: Sequence[Buffer]) -> list[Array]:
        """Convert XLA's results to NumPy arrays."""
        return self._program.take(results)
