"""CRC-32C (Castagnoli) of megabytes in numpy: many lanes side by side, joined by the algebra of the polynomial."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

POLYNOMIAL = 0x82F63B78  # reflected
LANES = 4096
ALL_ONES = np.uint32(0xFFFFFFFF)


def crc32c(buffers: Iterable[bytes | memoryview]) -> int:
    """Return the checksum of all buffers as if they were one."""
    total, started = 0, False
    for buffer in buffers:
        array = np.frombuffer(buffer, np.uint8)
        total = _join(total, _checksum(array), array.size) if started else _checksum(array)
        started = True
    return total


def _table() -> NDArray[np.uint32]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> np.uint32(1)) ^ np.where(table & np.uint32(1), np.uint32(POLYNOMIAL), np.uint32(0))
    return table


_TABLE = _table()


def _checksum(array: NDArray[np.uint8]) -> int:
    lane_length = array.size // LANES
    whole = lane_length * LANES
    columns = np.ascontiguousarray(array[:whole].reshape(LANES, lane_length).T)
    states = np.full(LANES, ALL_ONES, np.uint32)
    for column in columns:
        states = _TABLE[(states ^ column) & np.uint32(0xFF)] ^ (states >> np.uint32(8))
    state = int(_fold(states ^ ALL_ONES, lane_length)) ^ 0xFFFFFFFF
    for byte in array[whole:].tolist():
        state = int(_TABLE[(state ^ byte) & 0xFF]) ^ (state >> 8)
    return state ^ 0xFFFFFFFF


def _fold(checksums: NDArray[np.uint32], length: int) -> np.uint32:
    """Join the checksums of equally long neighbours, pair by pair."""
    shift = _zeros(length)
    while checksums.size > 1:
        checksums = _apply(shift, checksums[0::2]) ^ checksums[1::2]
        shift = _apply(shift, shift)
    return np.uint32(checksums[0])


def _join(first: int, second: int, second_length: int) -> int:
    return int(_apply(_zeros(second_length), np.array([first], np.uint32))[0]) ^ second


def _zeros(length: int) -> NDArray[np.uint32]:
    """Return the matrix (32 columns) that carries a checksum past this many zero bytes."""
    bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
    result, step = bits, _TABLE[bits & np.uint32(0xFF)] ^ (bits >> np.uint32(8))
    while length:
        if length & 1:
            result = _apply(step, result)
        step = _apply(step, step)
        length >>= 1
    return result


def _apply(matrix: NDArray[np.uint32], values: NDArray[np.uint32]) -> NDArray[np.uint32]:
    result = np.zeros_like(values)
    for bit in range(32):
        result ^= np.where((values >> np.uint32(bit)) & np.uint32(1), matrix[bit], np.uint32(0))
    return result
