"""Compiles and runs programs with jaxlib alone.

Version facts were seen on jaxlib 0.4.13, 0.4.23, 0.4.30, 0.10.2 and 0.12.0, both in a process that
has imported JAX and in one in which ``import jax`` fails.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import platform
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from brainpy_probe.compat import bindings
from brainpy_probe.format.arrays import Array
from brainpy_probe.ir.protobuf import encode_field

if TYPE_CHECKING:
    from brainpy_probe.compat.bindings import HloModule

__all__ = [
    "Executable",
    "cost_analysis",
    "hoists_small_loops",
    "processor",
    "refuses_unknown_calls",
    "register_jaxlib_kernels",
    "registered_targets",
    "version",
]


# CompileOptionsProto.executable_build_options, .debug_options, .xla_backend_extra_options, which
# has no Python attribute (0.10.2, 0.12.0: xla/pjrt/proto/compile_options.proto, xla/xla.proto; read
# by SmallWhileLoopHoistingPass of XLA's CPU compiler). Appended to a serialised message, it is
# merged.
_SMALL_LOOPS = encode_field(1, b"xla_cpu_small_while_loop_byte_threshold") + encode_field(2, b"0")
_NO_SMALL_LOOPS = encode_field(3, encode_field(3, encode_field(500, _SMALL_LOOPS)))


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


@functools.cache
def _client() -> Any:
    """Return XLA's client for the CPU."""
    jaxlib = _jaxlib()
    with contextlib.suppress(ImportError):
        # If JAX is installed, jaxlib imports its sharding class when it creates the first array.
        # Import it here, so that a run's time does not include it. jaxlib works without it.
        importlib.import_module("jax.sharding")
    jit: Any = getattr(jaxlib._xla, "jax_jit", None)
    state: Any = jit.global_state() if hasattr(jit, "global_state") else None
    if hasattr(state, "enable_memories") and sys.modules.get("jax") is None:
        # 0.4.23, 0.4.30: creating an array ends the process ("Check failed:
        # global_state.enable_memories.has_value()", "initialize_local_state.ptr() != nullptr")
        # until both are set. JAX sets them when it is imported, now or later.
        state.enable_memories = False
        jit.set_thread_local_state_initialization_callback(lambda: None)
    return jaxlib.make_cpu_client()


def registered_targets() -> frozenset[str]:
    """Return the targets of custom calls that XLA can call, as far as it lists them.

    ``custom_call_targets`` is in 0.4.30, 0.10.2, 0.12.0; before 0.10 its list is incomplete.
    jaxlib's own kernels are included after :func:`register_jaxlib_kernels` initialised them.
    """
    return _listed_targets() - _jaxlib_kernels().keys() | _INITIALISED


def _listed_targets() -> frozenset[str]:
    _client()  # targets that were registered earlier are passed to a new client
    list_targets = getattr(_jaxlib(), "custom_call_targets", None)
    return frozenset() if list_targets is None else frozenset(list_targets("cpu"))


def refuses_unknown_calls() -> bool:
    """Return whether XLA raises an error when it compiles a custom call that is not registered.

    0.10.2, 0.12.0: "No FFI handler registered for ...". Earlier versions compile it, print "JIT
    session error: Symbols not found" or raise "Symbol main.404 not found", and may crash when it
    runs.
    """
    return hasattr(_client(), "compile_and_load")


def hoists_small_loops() -> bool:
    """Return whether XLA compiles a small loop as one piece by default: 0.10.2, 0.12.0."""
    return hasattr(_client(), "compile_and_load")


def register_jaxlib_kernels(targets: Iterable[str]) -> None:
    """Register and initialise the kernels of jaxlib that are among some targets.

    LAPACK's kernels take their functions from SciPy. If they are registered but not initialised,
    they call a null pointer, which ends the process (all versions). JAX registers them when it is
    imported and initialises them when it lowers a program that calls them; this does both.

    ``jaxlib.lapack`` registers its kernels when it is imported up to 0.4.30; 0.10.2 and 0.12.0 list
    them in ``registrations``. ``jaxlib.ducc_fft`` is in 0.4.13, 0.4.23 and 0.4.30, with one kernel;
    it registers this when it is imported.

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
    counted = bindings.take("cost")(_client(), module)
    return {name: float(value) for name, value in counted.items()}


class Executable:
    """A StableHLO program, compiled by XLA for the CPU with default options.

    Parameters
    ----------
    content : bytes
        VHLO bytecode, or StableHLO text.
    separate_ops : bool
        Keep the ops of small loops separate, which XLA otherwise compiles as one piece (0.10.2,
        0.12.0) in which the profiler sees no ops.
    """

    def __init__(self, content: bytes, *, separate_ops: bool = False) -> None:
        client, jaxlib = _client(), _jaxlib()
        self._device = client.local_devices()[0]
        options = jaxlib.CompileOptions()
        if separate_ops:
            options = options.ParseFromString(options.SerializeAsString() + _NO_SMALL_LOOPS)
        if hasattr(client, "compile_and_load"):  # 0.10.2, 0.12.0: these accept VHLO
            devices = jaxlib.DeviceList((self._device,))
            self._loaded = client.compile_and_load(content, devices, options)
        else:
            if bindings.is_bytecode(content):  # 0.4.13, 0.4.23: "dialect 'vhlo' is unknown"
                content = jaxlib._xla.mlir.deserialize_portable_artifact(content)
            self._loaded = client.compile(content, options)

    def optimized(self) -> HloModule:
        """Return the optimised HLO module, with the locations of its instructions."""
        return self._loaded.hlo_modules()[0]

    def put(self, arrays: Sequence[Array]) -> list[Any]:
        """Return arrays as XLA's buffers, which may share memory with the arrays."""
        return [self._put(np.asarray(array, order="C")) for array in arrays]

    def _put(self, array: Array) -> Any:
        jaxlib, client = _jaxlib(), _client()
        if hasattr(client, "buffer_from_pyval"):  # 0.4.13, 0.4.23, 0.4.30
            return client.buffer_from_pyval(array)
        # 0.10.2, 0.12.0. enable_x64: otherwise "enable_x64_state is not set" without JAX; and
        # 64-bit values must stay 64-bit whatever JAX's own setting is.
        aval = SimpleNamespace(shape=array.shape, dtype=array.dtype, weak_type=False)
        sharding = _sharding_class()(self._device)
        put = jaxlib.batched_device_put
        return put(aval, sharding, [array], [self._device], enable_x64=True)

    def run(self, arguments: Sequence[Any]) -> list[Any]:
        """Run the program on buffers that :meth:`put` returned, and wait for XLA's results."""
        results = list(self._loaded.execute(list(arguments)))
        for array in results:
            array.block_until_ready()
        return results

    def take(self, results: Sequence[Any]) -> list[Array]:
        """Convert XLA's results to NumPy arrays."""
        return [np.asarray(_host_array(array)) for array in results]


@functools.cache
def _sharding_class() -> Any:
    """Return jaxlib's single-device sharding with the methods that JAX's own subclass adds."""
    jaxlib = _jaxlib()

    class OneDevice(jaxlib.SingleDeviceSharding):  # type: ignore[misc, name-defined]
        memory_kind = None

        def _to_xla_hlo_sharding(self, _: int) -> Any:
            return jaxlib.HloSharding.replicate()

    return OneDevice


def _host_array(array: Any) -> Any:
    """Return an array's content as NumPy; ``np.asarray`` of extended dtypes would need JAX.

    ``_single_device_array_to_np_array_did_copy`` on 0.10.2 and 0.12.0; earlier the name ends in
    ``array``.
    """
    convert = getattr(array, "_single_device_array_to_np_array_did_copy", None)
    return array._single_device_array_to_np_array() if convert is None else convert()[0]
