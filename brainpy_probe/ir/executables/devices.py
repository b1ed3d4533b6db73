"""Finds the devices on which a program runs, and moves arrays there and back, with jaxlib alone.

Version facts were seen on jaxlib 0.4.13, 0.4.23, 0.4.30, 0.10.2 and 0.12.0.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from types import SimpleNamespace
from typing import Any

import numpy as np

from brainpy_probe.compat import bindings
from brainpy_probe.compat.types import Buffer, Client, Device, Executable
from brainpy_probe.format.arrays import Array
from brainpy_probe.format.manifest.program_records import Placement

__all__ = [
    "Devices",
    "SingleDeviceProgram",
    "abstract",
    "choose",
    "cpu",
    "host_array",
    "of_jax",
    "prepare",
]

# Maximum number of CPU devices that one host can provide.
_MAX_HOST_DEVICES = 256
_HOST_DEVICES = "--xla_force_host_platform_device_count"


@dataclass(frozen=True)
class Devices:
    """Devices of one of XLA's clients.

    Attributes
    ----------
    client : Client
        The client.
    devices : tuple of Device
        The devices of the client on which a program runs.
    platform : str
        JAX's name of the platform for which it lowers: ``cpu``, ``cuda``, ``tpu``. The client
        itself calls CUDA and ROCm ``gpu``, for which JAX has no lowerings.
    """

    client: Client
    devices: tuple[Device, ...]
    platform: str = "cpu"

    def put(self, array: Array, device: Device) -> Buffer:
        """Return an array as a buffer of one device, which may share memory with the array."""
        jaxlib, client = bindings.take("client"), self.client
        if hasattr(client, "buffer_from_pyval"):  # 0.4.13, 0.4.23, 0.4.30
            return client.buffer_from_pyval(array, device)
        return jaxlib.batched_device_put(
            abstract(array), _one_device_class()(device), [array], [device], enable_x64=True
        )


@dataclass(frozen=True)
class SingleDeviceProgram:
    """A compiled program that runs on one device.

    Attributes
    ----------
    loaded : LoadedExecutable
        The compiled program.
    devices : Devices
        The device.
    """

    loaded: Executable
    devices: Devices

    def put(self, arrays: Sequence[Array]) -> list[Buffer]:
        """Place arrays on the device."""
        return [self.devices.put(array, self.devices.devices[0]) for array in arrays]

    def run(self, arguments: Sequence[Buffer]) -> list[Buffer]:
        """Run the program on placed arrays, and wait for its results."""
        results = list(self.loaded.execute(list(arguments)))
        for array in results:
            array.block_until_ready()
        return results

    def take(self, results: Sequence[Buffer]) -> list[Array]:
        """Return results as NumPy arrays."""
        return list(map(host_array, results))


def abstract(array: Array) -> Any:
    """Return the attributes that ``batched_device_put`` reads of an array's type (0.10.2, 0.12.0).

    The type is created with ``enable_x64``: 64-bit values must stay 64-bit whatever JAX's own
    setting is, and without JAX there is no setting ("enable_x64_state is not set").
    """
    return SimpleNamespace(shape=array.shape, dtype=array.dtype, weak_type=False)


def host_array(array: Buffer) -> Array:
    """Return the content of a buffer; ``np.asarray`` of extended dtypes would need JAX.

    ``_single_device_array_to_np_array_did_copy`` on 0.10.2 and 0.12.0; earlier the name ends in
    ``array``.
    """
    convert = getattr(array, "_single_device_array_to_np_array_did_copy", None)
    found = array._single_device_array_to_np_array() if convert is None else convert()[0]
    return np.asarray(found)


@functools.cache
def _one_device_class() -> Any:
    """Return jaxlib's single-device sharding, with the methods that JAX's subclass adds."""
    jaxlib = bindings.take("client")

    class OneDevice(jaxlib.SingleDeviceSharding):  # type: ignore[misc, name-defined]
        memory_kind = None

        def _to_xla_hlo_sharding(self, _: int) -> Any:
            return jaxlib.HloSharding.replicate()

    return OneDevice


def cpu(count: int = 1) -> Devices:
    """Return a number of CPU devices, or fewer if jaxlib does not create that many.

    0.10.2 and 0.12.0 create any number. Earlier, XLA's flag sets the number, and is read once in a
    process.
    """
    client = _cpu_client(count)
    return Devices(client, tuple(client.local_devices()[:count]))


@functools.cache
def _cpu_client(count: int) -> Client:
    jaxlib = bindings.take("client")
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
    with _host_devices(count):
        try:
            return jaxlib.make_cpu_client(num_devices=count)
        except TypeError:  # 0.4.13, 0.4.23, 0.4.30
            return jaxlib.make_cpu_client()


@contextlib.contextmanager
def _host_devices(count: int) -> Iterator[None]:
    """Set XLA's flag for the number of CPU devices, within the block."""
    before = os.environ.get("XLA_FLAGS")
    if count > 1:
        os.environ["XLA_FLAGS"] = f"{before or ''} {_HOST_DEVICES}={count}"
    try:
        yield
    finally:
        if count > 1:
            os.environ.pop("XLA_FLAGS")
            if before is not None:
                os.environ["XLA_FLAGS"] = before


def of_jax(platform: str, count: int) -> Devices | None:
    """Return devices of JAX's own client for a platform; None if JAX or a device is missing."""
    try:
        jax = importlib.import_module("jax")
        found = tuple(jax.local_devices(backend=platform)[:count])
    except Exception:  # JAX raises RuntimeError, plug-ins other classes
        return None
    return Devices(found[0].client, found, platform) if len(found) == count else None


def prepare(placements: Iterable[Placement]) -> None:
    """Make jaxlib create as many CPU devices as some programs need; see :func:`cpu`."""
    counts = [p.devices for p in placements if p.devices <= _MAX_HOST_DEVICES]
    if max(counts, default=1) > 1:
        cpu(max(counts))


def choose(placement: Placement) -> tuple[Devices, Sequence[str]]:
    """Return the devices on which a program runs here, and why it may round differently there.

    They have the program's platform and number if this process has such devices. Otherwise they are
    CPU devices: as many as the program has if jaxlib creates them, otherwise one.

    Parameters
    ----------
    placement : Placement
        The devices for which the program is lowered.
    """
    count, platform = placement.devices, placement.platform
    reasons = []
    if not placement.on_cpu:
        own = of_jax(platform, count)
        if own is not None:
            return own, ["XLA may choose other algorithms each time that it compiles"]
        reasons.append(f"it ran on {platform}, and here on a CPU")
    found = cpu(count) if count <= _MAX_HOST_DEVICES else cpu()
    if len(found.devices) < count:
        found = cpu()
        reasons.append(f"it ran on {count} devices, and here on one")
    elif count > 1 and metadata.version("jaxlib") == "0.4.13":
        # Two runs without the probe differ in the last bits of a sum over devices.
        reasons.append("this jaxlib adds the parts of several devices in no fixed order")
    return found, reasons
