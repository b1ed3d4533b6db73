"""Alters a capture folder as damage does, or as somebody does who covers his tracks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import xxhash

from brainpy_probe.format.digests import with_digest
from brainpy_probe.format.folder import MANIFEST

__all__ = ["alter", "files", "flip", "rewrite"]


def alter(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest, and give it the digest of what it then says."""
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    # The digest is the last entry, whatever was added.
    manifest["digest"] = manifest.pop("digest")
    (folder / MANIFEST).write_bytes(with_digest(json.dumps(manifest, indent=1).encode()))


def files(folder: Path) -> list[str]:
    """Return the paths of the files that the manifest names."""
    text = (folder / MANIFEST).read_text()
    return list(dict.fromkeys(re.findall(r'"path": "([^"]+)"', text)))


def rewrite(folder: Path, name: str, content: bytes) -> None:
    """Give a file other content, and the manifest its size and digest."""
    (folder / name).write_bytes(content)

    def change(manifest: dict[str, Any]) -> None:
        for entry in _entries(manifest):
            if entry.get("path") == name:
                entry["size"], entry["digest"] = len(content), xxhash.xxh3_128_hexdigest(content)

    alter(folder, change)


def _entries(found: Any) -> Iterator[dict[str, Any]]:
    if isinstance(found, dict):
        yield found
        found = list(found.values())
    for one in found if isinstance(found, list) else ():
        yield from _entries(one)


def flip(path: Path, position: int | None = None, bit: int = 0) -> None:
    """Flip a bit of a file, of the byte in its middle unless another is named."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if position is None else position] ^= 1 << bit
    path.write_bytes(content)
