"""The frames of a camera that have neither DONE nor a final NACK, and in which order they leave, and leave again."""

from __future__ import annotations

from collections import deque
from collections.abc import Container
from dataclasses import dataclass

from mdss.errors import BadInput
from mdss.wire.camera import FrameHeader, Nack, Payload

# frames that may wait for their first credit if the sender does not wait itself, and frames of a recipe that is not ready
MOST_WAITING = 4


@dataclass(eq=False)
class OutstandingFrame:
    """A frame without DONE or a final NACK, as it leaves and leaves again."""

    header: FrameHeader
    message: list[Payload]
    was_sent: bool = False  # or was being sent at Ctrl-C: so it may have been accepted, and is never dropped
    bytes_under_way: int = 0  # sent on this connection without an answer yet


class OutstandingFrames:
    """Knows each frame by its id, and which of them wait to leave; `acknowledged` are the ids of frames that were accepted once."""

    def __init__(self, acknowledged: Container[str]) -> None:
        self.put_off: dict[str, Nack] = {}  # frames that the station cannot take yet, and why; under an empty name: the camera itself
        self._acknowledged = acknowledged
        self._frames: dict[str, OutstandingFrame] = {}  # oldest first
        self._unsent: deque[OutstandingFrame] = deque()  # those to be sent, or sent again, in this order

    def __len__(self) -> int:
        return len(self._frames)

    def __contains__(self, frame_id: str) -> bool:
        return frame_id in self._frames

    @property
    def sent(self) -> int:
        """How many do not wait to leave: each of them takes a camera's credit."""
        return len(self._frames) - len(self._unsent)

    @property
    def bytes_under_way(self) -> int:
        """How much was sent on this connection without an answer yet."""
        return sum(frame.bytes_under_way for frame in self._frames.values())

    def add(self, header: FrameHeader, message: list[Payload]) -> OutstandingFrame:
        """Add a frame that is to leave; a known one leaves as it was given last."""
        frame = self._frames.setdefault(header.frame_id, OutstandingFrame(header, message))
        frame.header, frame.message = header, message
        if frame not in self._unsent:
            self._unsent.append(frame)
        return frame

    def check_id(self, header: FrameHeader) -> None:
        """Refuse another part under the id of an outstanding frame: the first part would be replaced and never be sent."""
        known = self._frames.get(header.frame_id)
        first = header if known is None else known.header
        if (first.part_id, first.recipe_id) != (header.part_id, header.recipe_id):
            found = f"found {header.frame_id}, which part {first.part_id} of recipe {first.recipe_id} has until it is done"
            raise BadInput(f"frame_id: {found}; expected another id for part {header.part_id} of recipe {header.recipe_id}")

    def crowd(self, recipe_id: str) -> list[FrameHeader]:
        """Return those that never left and wait for the same reason as a new frame of a recipe would, if there is no room for that one."""
        is_ready = self._is_ready(recipe_id)
        new = [frame.header for frame in self._frames.values() if not frame.was_sent]
        alike = [each for each in new if self._is_ready(each.recipe_id) == is_ready]
        return alike if len(alike) >= MOST_WAITING else []

    def forget(self, frame_id: str) -> None:
        """Let go of a frame, known or not; where Ctrl-C cuts it short, doing it again does the rest."""
        self.put_off.pop(frame_id, None)
        frame = self._frames.get(frame_id)
        if frame is not None and frame in self._unsent:
            self._unsent.remove(frame)
        self._frames.pop(frame_id, None)

    def forget_unsent(self, frame_id: str) -> None:
        """Let go of a frame that never left, known or not."""
        frame = self._frames.get(frame_id)
        if frame is not None and not frame.was_sent:
            self.forget(frame_id)

    def next_to_leave(self) -> OutstandingFrame | None:
        """Return the next frame that may be sent; a new one of a recipe that is not ready waits, because sent frames cannot be dropped."""
        return next((frame for frame in self._unsent if frame.was_sent or self._is_ready(frame.header.recipe_id)), None)

    def note_left(self, frame: OutstandingFrame) -> None:
        """Record that a frame was sent."""
        self._unsent.remove(frame)
        frame.bytes_under_way = sum(map(len, frame.message))

    def note_answer(self, frame_id: str) -> None:
        """Record that the station has all of a frame, known or not."""
        if frame_id in self._frames:
            self._frames[frame_id].bytes_under_way = 0

    def let_all_leave_again(self) -> None:
        """Have every frame leave on a new connection, the oldest first."""
        self._unsent = deque(self._frames.values())
        for frame in self._unsent:
            frame.bytes_under_way = 0

    def let_leave_later(self, nack: Nack) -> None:
        """Have a frame that was refused for now leave again."""
        frame = self._frames.get(nack.frame_id)
        if not nack.frame_id or frame is not None:
            self.put_off[nack.frame_id] = nack
        if nack.code == "NOT_READY":  # its recipe is being loaded; frames of other recipes need not wait for that
            if frame is not None and frame not in self._unsent:
                self._unsent.append(frame)
            return
        waiting = {*self._unsent, frame}
        self._unsent = deque(each for each in self._frames.values() if each in waiting)  # oldest first, in whatever order they were refused

    def _is_ready(self, recipe_id: str) -> bool:
        """Return whether fewer than four frames of a recipe were answered NOT_READY.

        Frames that were acknowledged before do not count: after a restart, NOT_READY may be about the station's record of that frame.
        """
        not_ready = [name for name, nack in self.put_off.items() if name and nack.code == "NOT_READY" and name not in self._acknowledged]
        return [self._frames[name].header.recipe_id for name in not_ready].count(recipe_id) < MOST_WAITING
