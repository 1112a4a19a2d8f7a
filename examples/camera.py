"""A camera in Python: sends ten made-up scans and waits for their verdicts.

Run: python examples/camera.py ipc:///tmp/frames.sock RECIPE
"""

from __future__ import annotations

import sys

import numpy as np

from mdss.client import FrameSender
from mdss.errors import MdssError


def main(endpoint: str, recipe: str) -> int:
    """Send ten parts: a box of 20 mm on a table, seen from above."""
    rows, columns = np.mgrid[0:256, 0:256].astype(np.float32)
    height = np.where((abs(rows - 128) < 60) & (abs(columns - 128) < 60), 20.0, 0.0)
    xyz = np.stack([columns * 0.4, rows * 0.4, 500.0 - height], axis=2).astype(np.float32)  # (H, W, 3) mm
    rgb = np.full((256, 256, 3), 120, np.uint8)
    with FrameSender(endpoint, "example-camera", send_timeout_s=10) as camera:
        for number in range(10):
            camera.send(rgb, xyz, part_id=f"part-{number}", recipe_id=recipe, unit="mm", is_simulated=True)
            camera.attend(timeout_s=0.1)  # until the next part comes: answers heartbeats, sends frames again
        answered = camera.wait_until_done(timeout_s=60)
        print(f"{len(camera.done)} judged, {len(camera.rejected)} refused")
        for nack in camera.rejected.values():
            print(f"refused: {nack.code}: {nack.reason}")
        for nack in camera.put_off.values():
            print(f"not taken yet: {nack.code}: {nack.reason}")
    return 0 if answered and not camera.rejected else 1


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python examples/camera.py ENDPOINT RECIPE")
    try:
        sys.exit(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
    except MdssError as error:  # no valid endpoint, or a station that does not answer or has no room
        sys.exit(f"camera: {error}; expected a running station with this camera.endpoint")
