"""Encodes and decodes protocol buffers on the wire level.

https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["encode_field", "fields", "varint", "varints"]


def fields(content: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each field: an integer, or bytes."""
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
            raise ValueError(f"unsupported wire type {kind}")
        chunk = content[position : position + size]
        position += size
        yield number, chunk if kind == 2 else _Fixed(chunk)


class _Fixed(bytes):
    """A fixed-width value of four or eight bytes, which is encoded without a length."""


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
    """Yield the integers that are packed into one field."""
    position = 0
    while position < len(content):
        value, position = _read_varint(content, position)
        yield value


def varint(value: int) -> bytes:
    """Encode a non-negative integer: seven bits per byte, the lowest first."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def encode_field(number: int, value: int | bytes) -> bytes:
    """Encode a field."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, _Fixed):
        return varint(number << 3 | (1 if len(value) == 8 else 5)) + value
    return varint(number << 3 | 2) + varint(len(value)) + value
