"""Reads parts of ClickHouse's RowBinary format, for answers that are too large for Python values."""


def read_count(data: bytes, at: int) -> tuple[int, int]:
    """A length of an array or a string (LEB128), and the place behind it."""
    count = shift = 0
    while True:
        byte = data[at]
        count |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return count, at
        shift += 7


def read_strings(data: bytes, at: int) -> list[str]:
    """An array of strings."""
    count, at = read_count(data, at)
    found = []
    for _ in range(count):
        length, at = read_count(data, at)
        found.append(data[at : at + length].decode())
        at += length
    return found
