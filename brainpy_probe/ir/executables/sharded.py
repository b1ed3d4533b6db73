"""Runs programs on several devices: distributes the arguments, and joins the results.

Version facts were seen on jaxlib 0.4.13, 0.4.30, 0.10.2 and 0.12.0.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from brainpy_probe.compat import bindings
from brainpy_probe.compat.types import Buffer, CompileOptions, Executable
from brainpy_probe.format.arrays import Array
from brainpy_probe.format.manifest.program_records import Placement
from brainpy_probe.ir.executables.devices import Devices, abstract, host_array

__all__ = ["Layout", "ShardedProgram", "distribute"]

Span: TypeAlias = tuple[slice, ...]


def distribute(options: CompileOptions, placement: Placement) -> None:
    """Set the options of a compilation for several devices.

    Shardy's ops need its partitioner, which is off by default (0.10.2, 0.12.0).
    """
    devices = np.arange(placement.devices).reshape(placement.replicas, placement.partitions)
    assigned = bindings.take("client").DeviceAssignment.create(devices)
    build = options.executable_build_options
    for place in (options, build):
        place.num_replicas, place.num_partitions = placement.replicas, placement.partitions
        place.device_assignment = assigned
    build.use_spmd_partitioning = placement.partitions > 1
    build.allow_spmd_sharding_propagation_to_output = [True]
    if hasattr(build, "use_shardy_partitioner"):
        build.use_shardy_partitioner = True


@dataclass(frozen=True)
class Layout:
    """The distribution of an argument or result over devices.

    Attributes
    ----------
    sharding : HloSharding
        XLA's own description.
    count : int
        The number of devices.
    """

    sharding: Any
    count: int

    @property
    def tiles(self) -> tuple[int, ...]:
        """The number of parts along each axis; empty if each device has the whole array."""
        if not self.sharding.is_tiled():
            return ()
        return tuple(self.sharding.tile_assignment_dimensions())

    def spans(self, shape: Sequence[int]) -> list[Span]:
        """Return the part of an array that each device has."""
        whole = tuple(slice(0, size) for size in shape)
        found = [whole] * self.count
        if self.tiles:
            devices = np.array(self.sharding.tile_assignment_devices()).reshape(self.tiles)
            for place in np.ndindex(*self.tiles):
                found[int(devices[place])] = tuple(_spans(place, self.tiles, shape))
        return found

    def whole(self, part: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of a whole array, given the shape of a part."""
        tiles = (*self.tiles, *[1] * len(part))
        return tuple(size * count for size, count in zip(part, tiles, strict=False))


def _spans(place: Sequence[int], tiles: Sequence[int], shape: Sequence[int]) -> Iterator[slice]:
    """Yield the part of each axis in a tile; the last tiles of an axis may be smaller, or empty."""
    for position, count, size in zip(place, tiles, shape, strict=False):
        length = math.ceil(size / count)
        yield slice(min(size, position * length), min(size, (position + 1) * length))


@dataclass(frozen=True)
class Argument:
    """An argument on several devices.

    Attributes
    ----------
    buffers : object
        jaxlib's array of all parts (0.10.2, 0.12.0), or the list of the parts.
    """

    buffers: Any

    @classmethod
    def put(cls, array: Array, layout: Layout, on: Devices) -> Argument:
        """Distribute an array over devices."""
        shards = [np.asarray(array[span], order="C") for span in layout.spans(array.shape)]
        if hasattr(on.client, "buffer_from_pyval"):  # 0.4.13, 0.4.23, 0.4.30
            return cls(list(map(on.put, shards, on.devices)))
        jaxlib, devices = bindings.take("client"), list(on.devices)
        sharding = _sharding_class()(jaxlib.DeviceList(on.devices), layout.sharding)
        put = jaxlib.batched_device_put
        return cls(put(abstract(array), sharding, shards, devices, enable_x64=True))


@dataclass(frozen=True)
class Result:
    """A result on several devices: the buffer of each device, and its part of the array."""

    parts: Sequence[Any]
    layout: Layout

    def whole(self) -> Array:
        """Return the whole array."""
        shards = list(map(host_array, self.parts))
        found = np.empty(self.layout.whole(shards[0].shape), shards[0].dtype)
        for span, shard in zip(self.layout.spans(found.shape), shards, strict=True):
            found[span] = shard
        return found


@functools.cache
def _sharding_class() -> Any:
    """Return jaxlib's sharding over several devices, with the method that JAX's subclass adds."""
    jaxlib = bindings.take("client")

    class Distribution(jaxlib.GSPMDSharding):  # type: ignore[misc, name-defined]
        memory_kind = None

        def _to_xla_hlo_sharding(self, _: int) -> Any:
            return self._hlo_sharding

    return Distribution


class ShardedProgram:
    """A compiled program that runs on several devices.

    Parameters
    ----------
    loaded : LoadedExecutable
        The compiled program.
    on : Devices
        The devices.
    """

    def __init__(self, loaded: Executable, on: Devices) -> None:
        self._loaded, self._on = loaded, on
        # None if each device has the whole of each array, as in a program with replicas.
        self._parameters = loaded.get_parameter_shardings()
        self._results = loaded.get_output_shardings()

    def _layout(self, described: Sequence[Any] | None, position: int) -> Layout:
        kind, count = bindings.take("client").HloSharding, len(self._on.devices)
        if described is None:
            return Layout(kind.replicate(), count)
        return Layout(kind.from_proto(described[position]), count)

    def put(self, arrays: Sequence[Array]) -> list[Buffer]:
        """Distribute the arguments of the program; some are distributed when it runs."""
        if self._parameters is not None and len(arrays) != len(self._parameters):
            return list(arrays)
        return self._placed(arrays)

    def _placed(self, arguments: Sequence[Buffer]) -> list[Argument]:
        """Distribute those arguments that are arrays, or results of an earlier run."""
        placed = []
        for position, argument in enumerate(arguments):
            if isinstance(argument, Argument):
                placed.append(argument)
            else:
                array = argument.whole() if isinstance(argument, Result) else argument
                layout = self._layout(self._parameters, position)
                placed.append(Argument.put(array, layout, self._on))
        return placed

    def run(self, arguments: Sequence[Buffer]) -> list[Buffer]:
        """Run the program on distributed arrays, and wait for its results."""
        buffers = [argument.buffers for argument in self._placed(arguments)]
        if hasattr(self._on.client, "buffer_from_pyval"):  # 0.4.13, 0.4.23, 0.4.30
            results = self._loaded.execute_sharded_on_local_devices(buffers)
        else:
            results = self._loaded.execute_sharded(buffers).disassemble_into_single_device_arrays()
        for part in (part for result in results for part in result):
            part.block_until_ready()
        return [
            Result(parts, self._layout(self._results, position))
            for position, parts in enumerate(results)
        ]

    def take(self, results: Sequence[Buffer]) -> list[Array]:
        """Join the parts of each result."""
        return [result.whole() for result in results]
