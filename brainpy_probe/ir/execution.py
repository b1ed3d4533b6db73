"""Programs compiled and run by jaxlib alone; knows no text and no capture.

What is said of versions was seen on jaxlib 0.4.13, 0.4.23, 0.4.30, 0.10.2 and
0.12.0, in a process in which ``import jax`` fails and in one that has imported it.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import sys
from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from brainpy_probe.compat import bindings
from brainpy_probe.format.arrays import Array
from brainpy_probe.ir.protobuf import encoded

__all__ = [
    "Executable",
    "hoists_small_loops",
    "refuses_unknown_calls",
    "register_own",
    "registered",
    "version",
]


# CompileOptionsProto.executable_build_options, .debug_options, .xla_backend_extra_options, which
# has no name in Python (0.10.2, 0.12.0: xla/pjrt/proto/compile_options.proto, xla/xla.proto;
# read by SmallWhileLoopHoistingPass of XLA's CPU compiler). Appended to a message, it is merged.
_SMALL_LOOPS = encoded(1, b"xla_cpu_small_while_loop_byte_threshold") + encoded(2, b"0")
_NO_SMALL_LOOPS = encoded(3, encoded(3, encoded(500, _SMALL_LOOPS)))


@functools.cache
def _jaxlib() -> Any:
    """Return XLA's client, XLA's Python side, which needs no JAX."""
    return bindings.take("client")


def version() -> str:
    """Return jaxlib's version."""
    import jaxlib

    return str(jaxlib.__version__)


@functools.cache
def _client() -> Any:
    """Return XLA's client for the CPU."""
    jaxlib = _jaxlib()
    with contextlib.suppress(ImportError):
        # Where JAX is installed, jaxlib imports its class of shardings when it makes its first
        # array, and goes on without where it is not. Here it is no part of a run's seconds.
        importlib.import_module("jax.sharding")
    jit: Any = getattr(jaxlib._xla, "jax_jit", None)
    state: Any = jit.global_state() if hasattr(jit, "global_state") else None
    if hasattr(state, "enable_memories") and sys.modules.get("jax") is None:
        # 0.4.23, 0.4.30: making an array ends the process ("Check failed:
        # global_state.enable_memories.has_value()", "initialize_local_state.ptr() != nullptr")
        # as long as nobody has said this. JAX says it when it is imported, then or later.
        state.enable_memories = False
        jit.set_thread_local_state_initialization_callback(lambda: None)
    return jaxlib.make_cpu_client()


def registered() -> frozenset[str]:
    """Return the custom calls that XLA can make, as far as it says.

    ``custom_call_targets`` is in 0.4.30, 0.10.2, 0.12.0; before 0.10 it lists only some of them.
    A kernel of jaxlib's own counts when :func:`register_own` has initialised it.
    """
    return _listed() - _own_kernels().keys() | _INITIALISED


def _listed() -> frozenset[str]:
    _client()  # what was registered before there was a client is told to it
    asked = getattr(_jaxlib(), "custom_call_targets", None)
    return frozenset() if asked is None else frozenset(asked("cpu"))


def refuses_unknown_calls() -> bool:
    """Whether XLA raises an error when it compiles a custom call that nobody has registered.

    0.10.2, 0.12.0: "No FFI handler registered for ...". Earlier ones compile it, print "JIT session
    error: Symbols not found" or raise "Symbol main.404 not found", and may crash when it runs.
    """
    return hasattr(_client(), "compile_and_load")


def hoists_small_loops() -> bool:
    """Whether XLA compiles a small loop as one piece by itself: 0.10.2, 0.12.0."""
    return hasattr(_client(), "compile_and_load")


def register_own(targets: Iterable[str]) -> None:
    """Register and initialise those kernels of jaxlib's own that are among some targets.

    LAPACK's kernels take their functions from SciPy: registered and not initialised, they call a
    null pointer, which ends the process (all versions). JAX registers them when it is imported and
    initialises them when it lowers a program that calls them; so both is done here.

    ``jaxlib.lapack`` registers its kernels when it is imported up to 0.4.30; 0.10.2 and 0.12.0 list
    them in ``registrations``. ``jaxlib.ducc_fft`` is in 0.4.13, 0.4.23 and 0.4.30, with one kernel;
    it registers this when it is imported.

    Raises
    ------
    ImportError
        If SciPy is not installed.
    """
    own = _own_kernels()
    for library in sorted({own[target] for target in targets if target in own}):
        module = importlib.import_module(f"jaxlib.{library}")
        if library == "lapack":
            module._lapack.initialize()
        listed = _listed()
        for platform, kernels in getattr(module, "registrations", dict)().items():
            for name, kernel, api in kernels:
                if name not in listed:
                    _jaxlib().register_custom_call_target(
                        name, kernel, platform=platform, api_version=api
                    )
        _INITIALISED.update(name for name, home in own.items() if home == library)


# Kernels of jaxlib's own that this process has initialised.
_INITIALISED: set[str] = set()


@functools.cache
def _own_kernels() -> dict[str, str]:
    """Return the custom calls that jaxlib has kernels for, each with the library that has it."""
    return {
        target: library
        for library in ("lapack", "ducc_fft")
        if importlib.util.find_spec(f"jaxlib.{library}") is not None
        for target in importlib.import_module(f"jaxlib.cpu._{library}").registrations()
    }


def cost_analysis(module: Any) -> dict[str, float]:
    """Return XLA's cost analysis of an HLO module, by its own names: a loop's body counts once.

    It is what JAX's ``Lowered.cost_analysis`` calls.
    """
    counted = bindings.take("cost")(_client(), module)
    return {name: float(value) for name, value in counted.items()}


class Executable:
    """A StableHLO program, compiled by XLA for the CPU with the options that XLA has by itself.

    Parameters
    ----------
    content : bytes
        VHLO bytecode, or StableHLO text.
    apart : bool
        Have each op run by itself in a small loop too, which XLA otherwise compiles as one piece
        (0.10.2, 0.12.0): else no profiler tells its ops apart.
    """

    def __init__(self, content: bytes, *, apart: bool = False) -> None:
        client, jaxlib = _client(), _jaxlib()
        self._device = client.local_devices()[0]
        options = jaxlib.CompileOptions()
        if apart:
            options = options.ParseFromString(options.SerializeAsString() + _NO_SMALL_LOOPS)
        if hasattr(client, "compile_and_load"):  # 0.10.2, 0.12.0: they read VHLO themselves
            devices = jaxlib.DeviceList((self._device,))
            self._loaded = client.compile_and_load(content, devices, options)
        else:
            if bindings.is_bytecode(content):  # 0.4.13, 0.4.23: "dialect 'vhlo' is unknown"
                content = jaxlib._xla.mlir.deserialize_portable_artifact(content)
            self._loaded = client.compile(content, options)

    def optimized(self) -> Any:
        """Return the HLO module that runs, with the locations of its instructions."""
        return self._loaded.hlo_modules()[0]

    def put(self, arrays: Sequence[Array]) -> list[Any]:
        """Return arrays as XLA takes them; it may read the memory of the ones that are given."""
        return [self._put(np.asarray(array, order="C")) for array in arrays]

    def _put(self, array: Array) -> Any:
        jaxlib, client = _jaxlib(), _client()
        if hasattr(client, "buffer_from_pyval"):  # 0.4.13, 0.4.23, 0.4.30
            return client.buffer_from_pyval(array)
        # 0.10.2, 0.12.0. enable_x64: "enable_x64_state is not set" without JAX; and whatever JAX
        # has set, 64 bits are to stay 64 bits.
        form = SimpleNamespace(shape=array.shape, dtype=array.dtype, weak_type=False)
        place = _sharding_class()(self._device)
        put = jaxlib.batched_device_put
        return put(form, place, [array], [self._device], enable_x64=True)

    def run(self, arguments: Sequence[Any]) -> list[Any]:
        """Run the program to its end on what :meth:`put` gave; return XLA's arrays."""
        made = list(self._loaded.execute(list(arguments)))
        for array in made:
            array.block_until_ready()
        return made

    def take(self, made: Sequence[Any]) -> list[Array]:
        """Return XLA's arrays as NumPy's."""
        return [np.asarray(_host_array(array)) for array in made]


@functools.cache
def _sharding_class() -> Any:
    """Return jaxlib's sharding on one device, with what JAX's own class of it adds in Python."""
    jaxlib = _jaxlib()

    class OneDevice(jaxlib.SingleDeviceSharding):  # type: ignore[misc, name-defined]
        memory_kind = None

        def _to_xla_hlo_sharding(self, _: int) -> Any:
            return jaxlib.HloSharding.replicate()

    return OneDevice


def _host_array(array: Any) -> Any:
    """Return an array's content; ``np.asarray`` of it would need JAX for what is no plain number.

    ``_single_device_array_to_np_array_did_copy`` on 0.10.2 and 0.12.0; before, that name ends at
    ``array``.
    """
    both = getattr(array, "_single_device_array_to_np_array_did_copy", None)
    return array._single_device_array_to_np_array() if both is None else both()[0]
