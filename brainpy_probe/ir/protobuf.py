"""Protocol buffers as they are on the wire; knows no message.

https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["encoded", "fields", "varint", "varints"]


def fields(content: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each field: a whole number, or bytes."""
    position = 0
    while position < len(content):
        tag, position = _read_varint(content, position)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, position = _read_varint(content, position)
            yield number, value
            continue
        if kind == 2:
            size, position = _read_varint(content, position)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind} is not in use")
        chunk = content[position : position + size]
        position += size
        yield number, chunk if kind == 2 else _Fixed(chunk)


class _Fixed(bytes):
    """A value of four or eight bytes: a number, written without its length."""


def _read_varint(content: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def varints(content: bytes) -> Iterator[int]:
    """Yield whole numbers that are packed into one field."""
    position = 0
    while position < len(content):
        value, position = _read_varint(content, position)
        yield value


def varint(value: int) -> bytes:
    """Write a whole number of no sign: seven bits a byte, the lowest first."""
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])


def encoded(number: int, value: int | bytes) -> bytes:
    """Write a field."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, _Fixed):
        return varint(number << 3 | (1 if len(value) == 8 else 5)) + value
    return varint(number << 3 | 2) + varint(len(value)) + value
