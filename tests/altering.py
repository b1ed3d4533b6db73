"""Alters capture folders, as damage does or as an attacker who repairs the digests does."""

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
    """Change the manifest, and update its digest."""
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    # The digest is always the last entry.
    manifest["digest"] = manifest.pop("digest")
    (folder / MANIFEST).write_bytes(with_digest(json.dumps(manifest, indent=1).encode()))


def files(folder: Path) -> list[str]:
    """Return the paths of the files that the manifest names."""
    text = (folder / MANIFEST).read_text()
    return list(dict.fromkeys(re.findall(r'"path": "([^"]+)"', text)))


def rewrite(folder: Path, name: str, content: bytes) -> None:
    """Replace the content of a file, and update its size and digest in the manifest."""
    (folder / name).write_bytes(content)

    def change(manifest: dict[str, Any]) -> None:
        for entry in _entries(manifest):
            if entry.get("path") == name:
                entry["size"], entry["digest"] = len(content), xxhash.xxh3_128_hexdigest(content)

    alter(folder, change)


def _entries(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    for value in node if isinstance(node, list) else ():
        yield from _entries(value)


def flip(path: Path, position: int | None = None, bit: int = 0) -> None:
    """Flip a bit of a file: by default, of the byte in its middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if position is None else position] ^= 1 << bit
    path.write_bytes(content)
