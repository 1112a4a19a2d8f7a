"""Encodes a message between two processes as zmq frames: one typed header, then one raw buffer per array, never copied."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, get_args, get_origin

import msgspec
import numpy as np
import zmq
from numpy.typing import NDArray

from mdss.errors import UNREADABLE, MdssError
from mdss.wire.messages import (
    Accepted,
    BranchScore,
    ColourTask,
    Ended,
    Fault,
    Frame,
    Heartbeat,
    Judged,
    JudgedScan,
    Message,
    PreparedPart,
    Resend,
    ShapeTask,
)

VERSION = b"\x01"  # first byte of the header; both ends of a link come from the same release
AnyMessage = (
    Accepted | Frame | Ended | Resend | ColourTask | ShapeTask | PreparedPart | BranchScore | Fault | Judged | JudgedScan | Heartbeat
)


class DecodeError(MdssError):
    """What arrived on a link is no message of this release."""


class ArrayPlace(msgspec.Struct, frozen=True, array_like=True):
    """Takes an array's place in the header; the array travels in its own frame."""

    index: int
    dtype: str
    shape: tuple[int, ...]


def encode(message: Message) -> list[bytes | memoryview]:
    """Return the frames of a message; array frames are views, so the arrays must not change until they are sent."""
    buffers: list[memoryview] = []

    def place(value: Any) -> ArrayPlace:
        if not isinstance(value, np.ndarray):
            raise NotImplementedError(f"a {type(value).__name__} cannot be sent")
        array = np.ascontiguousarray(value)
        buffers.append(array.reshape(-1).view(np.uint8).data)
        return ArrayPlace(len(buffers) - 1, array.dtype.str, array.shape)

    header = VERSION + msgspec.msgpack.encode(message, enc_hook=place)
    return [header, *buffers]


def decode(frames: Sequence[zmq.Frame | bytes]) -> AnyMessage:
    """Return the message in these frames; its arrays are read-only views of them."""
    if not frames:
        raise DecodeError("message: found no frames, expected a header")
    header, *buffers = (frame.buffer if isinstance(frame, zmq.Frame) else memoryview(frame) for frame in frames)
    if bytes(header[:1]) != VERSION:
        raise DecodeError(f"message header: found version {bytes(header[:1])!r}, expected {VERSION!r}")
    places: list[int] = []
    try:
        message: AnyMessage = msgspec.msgpack.decode(header[1:], type=AnyMessage, dec_hook=_array_reader(buffers, places))
    except UNREADABLE as error:
        raise DecodeError(f"message header: {error}") from error
    if sorted(places) != list(range(len(buffers))):
        raise DecodeError(f"message {type(message).__name__}: found {len(buffers)} array frames, expected {len(places)}")
    return message


def _array_reader(buffers: Sequence[memoryview], places: list[int]) -> Callable[[type, Any], NDArray[Any]]:
    def read(kind: type, value: Any) -> NDArray[Any]:
        place = msgspec.convert(value, ArrayPlace)
        if not 0 <= place.index < len(buffers):
            raise ValueError(f"array {place.index} has no frame, {len(buffers)} came")
        places.append(place.index)
        return _read_array(buffers[place.index], place, _element_type(kind))

    return read


def _read_array(buffer: memoryview, place: ArrayPlace, expected: np.dtype[Any]) -> NDArray[Any]:
    if place.dtype != expected.str:
        raise ValueError(f"array {place.index} is {place.dtype}, expected {expected.str}")
    needed = math.prod(place.shape) * expected.itemsize
    if buffer.nbytes != needed:
        raise ValueError(f"array {place.index} of shape {place.shape} has {buffer.nbytes} bytes, expected {needed}")
    array: NDArray[Any] = np.frombuffer(buffer, expected).reshape(place.shape)
    array.flags.writeable = False
    return array


def _element_type(kind: type) -> np.dtype[Any]:
    """Return the element type of an NDArray[element] annotation."""
    if get_origin(kind) is not np.ndarray:
        raise NotImplementedError(f"a {kind} cannot be received")
    element: np.dtype[Any] = np.dtype(get_args(get_args(kind)[1])[0])
    return element
