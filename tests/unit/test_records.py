"""Records of a capture: those of earlier versions still load."""

from __future__ import annotations

import msgspec
import pytest

from brainpy_probe.format.manifest.cost_records import Costs, Measured

MEASURED = b'{"steps":1,"seconds":1.0,"profiled":1.0,"loop":1.0,"components":[],"notes":[]%s}'


def test_measured_times_of_an_earlier_version_load() -> None:
    old = msgspec.json.decode(MEASURED % b',"what":"copy","device":""', type=Measured)
    assert old == msgspec.json.decode(MEASURED % b"", type=Measured)


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field `x`"):
        msgspec.json.decode(b'{"x":1}', type=Costs)
