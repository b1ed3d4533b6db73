"""Names the CPU for which XLA compiles: its code, and so how it rounds, depends on the CPU."""

from __future__ import annotations

import functools
import platform
import re
from pathlib import Path

__all__ = ["processor"]

# Instructions that decide how XLA vectorises and contracts floats, on x86 and on ARM.
_VECTOR = re.compile(r"(avx|fma|sse4|asimd|sve|f16c|amx)\w*")


@functools.cache
def processor() -> str:
    """Return the model and the vector instructions of this CPU; empty if they are unknown."""
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
    return " ".join([model, *sorted(filter(_VECTOR.fullmatch, flags.split()))]).strip()
