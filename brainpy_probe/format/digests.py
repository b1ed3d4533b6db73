"""Digests of a capture's files and of its manifest."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import xxhash

__all__ = [
    "digest_in_background",
    "digest_of",
    "digest_of_file",
    "has_valid_digest",
    "with_digest",
]

# Size of a chunk that stays in the processor's cache between two reads.
_CHUNK = 1 << 20
# The last field of a manifest or journal line, up to the end.
_DIGEST = re.compile(rb'"digest":\s?"([0-9a-f]*)"\n?\}\Z')


def with_digest(content: bytes) -> bytes:
    """Return JSON with its last field, ``digest``, set to the digest of the JSON without it."""
    match = _DIGEST.search(content)
    if match is None:
        raise ValueError("the last field of a manifest must be its digest")
    before, after = content[: match.start(1)], content[match.end(1) :]
    return before + digest_of(before + after).encode() + after


def has_valid_digest(content: bytes) -> bool:
    """Return whether JSON ends with the digest that :func:`with_digest` computes."""
    return _DIGEST.search(content) is not None and with_digest(content) == content


def digest_of(content: bytes | memoryview) -> str:
    """Return the hexadecimal XXH3-128 of some bytes.

    It detects damage and mistakes at the speed of memory. It does not detect forgery: anyone who
    changes a capture can also write new digests into it.
    """
    return str(xxhash.xxh3_128_hexdigest(content))


def digest_of_file(descriptor: int) -> str:
    """Return the XXH3-128 of an open file, which is read in chunks."""
    whole = xxhash.xxh3_128()
    while piece := os.read(descriptor, _CHUNK):
        whole.update(piece)
    return str(whole.hexdigest())


def _digests_of(pieces: Sequence[bytes | memoryview]) -> tuple[str, list[str]]:
    """Return the digest of all pieces together and of each piece, reading them once."""
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
def digest_in_background(
    pieces: Sequence[bytes | memoryview],
) -> Iterator[Callable[[], tuple[str, list[str]]]]:
    """Yield a function that returns the digests of some pieces.

    Another thread digests large pieces while the block writes them, because both release the GIL.
    The thread has ended when the block ends.
    """
    if sum(len(piece) for piece in pieces) < _CHUNK:  # starting a thread takes longer
        yield lambda: _digests_of(pieces)
        return
    with ThreadPoolExecutor(1) as executor:
        try:
            future = executor.submit(_digests_of, pieces)
        except RuntimeError:  # the interpreter is shutting down and starts no threads
            yield lambda: _digests_of(pieces)
        else:
            yield future.result
