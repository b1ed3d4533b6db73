"""Digests of what a capture holds, and of its index; knows no record."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import xxhash

__all__ = ["digest_of", "digest_of_file", "digesting", "is_signed", "signed"]

# Bytes that are still in the processor's cache when they are read again.
_CHUNK = 1 << 20
# How an index ends.
_DIGEST = re.compile(rb'"digest":\s?"([0-9a-f]*)"\n?\}\Z')


def signed(content: bytes) -> bytes:
    """Return an index as JSON with the digest of its bytes in it, taken while that is empty."""
    found = _DIGEST.search(content)
    if found is None:
        raise ValueError("an index ends with its digest")
    before, after = content[: found.start(1)], content[found.end(1) :]
    return before + digest_of(before + after).encode() + after


def is_signed(content: bytes) -> bool:
    """Whether an index has the digest of its bytes in it."""
    return _DIGEST.search(content) is not None and signed(content) == content


def digest_of(content: bytes | memoryview) -> str:
    """Return the hexadecimal XXH3-128 of some bytes.

    It finds what was damaged or mistaken, at the speed of memory; whoever wants to forge a capture
    could write any digest that there is into it.
    """
    return str(xxhash.xxh3_128_hexdigest(content))


def digest_of_file(descriptor: int) -> str:
    """Return the XXH3-128 of an open file, read in pieces."""
    whole = xxhash.xxh3_128()
    while piece := os.read(descriptor, _CHUNK):
        whole.update(piece)
    return str(whole.hexdigest())


def _digests_of(pieces: Sequence[bytes | memoryview]) -> tuple[str, list[str]]:
    """Return the digest of the whole and that of each piece, having read them once."""
    whole, each = xxhash.xxh3_128(), []
    for piece in pieces:
        own, content = xxhash.xxh3_128(), memoryview(piece)
        for begin in range(0, len(content), _CHUNK):
            chunk = content[begin : begin + _CHUNK]
            whole.update(chunk)
            own.update(chunk)
        each.append(str(own.hexdigest()))
    return str(whole.hexdigest()), each


@contextlib.contextmanager
def digesting(
    pieces: Sequence[bytes | memoryview],
) -> Iterator[Callable[[], tuple[str, list[str]]]]:
    """Give what digests some bytes, large ones in another thread while the block writes them.

    Both let go of Python's lock. The thread is gone in the end.
    """
    if sum(len(piece) for piece in pieces) < _CHUNK:  # starting a thread takes longer
        yield lambda: _digests_of(pieces)
        return
    with ThreadPoolExecutor(1) as thread:
        try:
            coming = thread.submit(_digests_of, pieces)
        except RuntimeError:  # the interpreter is ending: no new thread
            yield lambda: _digests_of(pieces)
        else:
            yield coming.result
