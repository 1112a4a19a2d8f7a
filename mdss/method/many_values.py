"""One array of values that come in pieces; of very many it lies in a temporary file, so that memory need not hold them."""

from __future__ import annotations

import tempfile
from typing import IO

import numpy as np
from numpy.typing import NDArray

from mdss.errors import MdssError

Values = NDArray[np.floating]
MOST_BYTES = 1 << 30  # in memory: the pixels of 67 scans of 2000 x 2000


class ManyValues:
    """Takes pieces of one type, and returns them as one array."""

    def __init__(self) -> None:
        self._pieces: list[Values] = [np.empty(0, np.float32)]
        self._kind = np.dtype(np.float32)  # of what is in the file
        self._nbytes = 0
        self._file: IO[bytes] | None = None  # without a buffer, which would be written once more after a failure

    def add(self, piece: Values) -> None:
        """Take a piece (N,). MdssError if the folder for temporary files has no room, or there is none."""
        self._pieces.append(piece)
        self._nbytes += piece.nbytes
        if self._nbytes <= MOST_BYTES:
            return
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - it is closed once the array lies on its pages
                self._kind = np.result_type(*self._pieces)
            for each in self._pieces:
                left = each.astype(self._kind, casting="safe", copy=False).view(np.uint8)
                while len(left):  # a disk with little room takes less than it is given, and then refuses
                    left = left[self._file.write(left.data) :]
        except OSError as error:
            found = f"{self._nbytes >> 20} MiB of pixels cannot be kept there ({error.strerror})"
            raise MdssError(
                f"{tempfile.tempdir or 'TMPDIR'}: {found}; expected a folder with room, such as one that TMPDIR names"
            ) from error
        self._pieces.clear()

    def together(self) -> Values:
        """Return all values (N,) in an array that nobody else holds; there are none left here."""
        if self._file is None:
            values = np.concatenate(self._pieces)
            self._pieces.clear()
            return values
        with self._file as file:
            return np.asarray(np.memmap(file, self._kind, "r+"))
