"""Promises of a link between two processes, over real ZeroMQ."""

from __future__ import annotations

import os
from pathlib import Path
from socket import AF_UNIX
from socket import socket as plain_socket
from types import SimpleNamespace
from typing import Any

import pytest
import zmq

from mdss.errors import BadInput
from mdss.wire.messages import Heartbeat, Judged
from mdss.wire.sockets import SKIPPED_AT_ONCE, BoundedReceiver, Receiver, Sender, bind_socket
from mdss.wire.topology import LINKS, address

pytestmark = pytest.mark.timeout(30)


def settings(folder: Path, frames: str = "ipc://frames") -> Any:
    return SimpleNamespace(
        station=SimpleNamespace(runtime_directory=str(folder)),
        camera=SimpleNamespace(endpoint=frames),
        verdicts=SimpleNamespace(endpoint="ipc://verdicts", snapshot_endpoint="ipc://snapshot"),
        security=SimpleNamespace(server_key_file=None),
    )


def beat() -> Heartbeat:
    return Heartbeat(process="rgb", pid=1, state="running", reason="", steps=0, waiting=0, counters={}, timings={})


@pytest.mark.parametrize("link", ["judged", "rgb"])
def test_a_message_crosses_a_link_whichever_end_binds(link: str, tmp_path: Path) -> None:
    with zmq.Context() as context:
        sender, receiver = Sender(context, link, settings(tmp_path)), Receiver(context, link, settings(tmp_path))
        assert sender.socket.poll(10_000, zmq.POLLOUT)
        assert sender.send(Judged(result_id="r", sequence=4))
        assert receiver.receive(10_000) == Judged(result_id="r", sequence=4)
        assert receiver.receive(0) is None
        assert receiver.waiting == 0
        sender.close()
        receiver.close()


def test_heartbeats_are_dropped_when_nobody_reads_them(tmp_path: Path) -> None:
    with zmq.Context() as context:
        sender = Sender(context, "health", settings(tmp_path))
        sent = [sender.send(beat()) for _ in range(LINKS["health"].high_water + 1)]
        assert sent[0] and not sent[-1]
        sender.close()


def test_of_a_message_with_more_frames_than_any_has_the_first_are_taken_and_the_others_passed_over_in_steps(tmp_path: Path) -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router, context.socket(zmq.DEALER) as dealer:
        router.linger = dealer.linger = 0
        router.bind(f"ipc://{tmp_path}/door")
        dealer.connect(f"ipc://{tmp_path}/door")
        dealer.send_multipart([b"%d" % number for number in range(3 + 2 * SKIPPED_AT_ONCE)])
        dealer.send_multipart([b"short"])
        inlet, taken = BoundedReceiver(router, 4), list[list[bytes]]()
        while not taken or taken[-1] != [b"short"]:
            assert router.poll(10_000)
            taken.append([frame.bytes for frame in inlet.receive()][1:])
        assert taken == [[b"0", b"1", b"2"], [], [], [b"short"]]


def test_a_link_waits_for_its_peer_rather_than_lose_a_frame(tmp_path: Path) -> None:
    with zmq.Context() as context:
        sender = Sender(context, "rgb", settings(tmp_path))
        assert not sender.send(Judged(result_id="r", sequence=4)), "it says so at once, and whoever sends keeps the frame"
        sender.close()


def test_each_link_has_its_own_address_and_the_public_ones_are_settings(tmp_path: Path) -> None:
    addresses = {name: address(link, settings(tmp_path)) for name, link in LINKS.items()}
    assert len(set(addresses.values())) == len(LINKS)
    assert addresses["frames"] == "ipc://frames"
    assert addresses["prepare"] == f"ipc://{tmp_path}/prepare.sock"


def test_the_group_may_connect_cameras_and_subscribers_and_speak_for_no_process(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    before = os.umask(0o027)  # as `mdss run` has it
    try:
        with zmq.Context() as context:
            within = Receiver(context, "fusion", settings(folder)), Sender(context, "prepare", settings(folder))
            public = bind_socket(context, zmq.ROUTER, "frames", settings(folder, f"ipc://{folder}/frames.sock"))
            modes = {path.name: path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())}
            assert modes == {"run": 0o750, "fusion.sock": 0o700, "prepare.sock": 0o700, "frames.sock": 0o770}
            for each in (*within, public):
                each.close()
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)


def test_the_folder_of_a_socket_is_made_where_it_is_not_there(tmp_path: Path) -> None:
    place = tmp_path / "not" / "there" / "frames.sock"
    with zmq.Context() as context:
        bind_socket(context, zmq.ROUTER, "frames", settings(tmp_path, f"ipc://{place}")).close()
    assert place.parent.is_dir()


def test_an_address_that_cannot_be_opened_is_named_and_keeps_no_socket_open(tmp_path: Path) -> None:
    (tmp_path / "prepare.sock").mkdir()
    with zmq.Context() as context:  # whose end waits for every socket
        with pytest.raises(BadInput, match=f"prepare endpoint ipc://{tmp_path}/prepare.sock: cannot be opened"):
            Sender(context, "prepare", settings(tmp_path))
        first = bind_socket(context, zmq.ROUTER, "frames", settings(tmp_path, "tcp://127.0.0.1:*"))
        taken = first.get_string(zmq.LAST_ENDPOINT)
        with pytest.raises(BadInput, match=rf"frames endpoint {taken}: cannot be opened \(Address already in use\)"):
            bind_socket(context, zmq.ROUTER, "frames", settings(tmp_path, taken))
        first.close()


def test_a_socket_that_somebody_listens_on_is_not_taken_over_but_one_that_the_dead_left_behind_is(tmp_path: Path) -> None:
    mine = settings(tmp_path, f"ipc://{tmp_path}/frames.sock")
    with plain_socket(AF_UNIX) as dead:
        dead.bind(str(tmp_path / "frames.sock"))
    with zmq.Context() as context:
        first = bind_socket(context, zmq.ROUTER, "frames", mine)
        with pytest.raises(BadInput, match=rf"frames endpoint ipc://{tmp_path}/frames.sock: cannot be opened \(Address already in use\)"):
            bind_socket(context, zmq.ROUTER, "frames", mine)
        camera = context.socket(zmq.DEALER)
        camera.connect(f"ipc://{tmp_path}/frames.sock")
        camera.send(b"to the first")
        assert first.poll(10_000)
        camera.close()
        first.close()


def test_a_file_in_the_place_of_a_socket_is_named_and_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite").write_text("every part")
    (tmp_path / "link").symlink_to("journal.sqlite")
    with zmq.Context() as context:
        for name in ("journal.sqlite", "link"):
            with pytest.raises(BadInput, match=rf"frames endpoint ipc://{tmp_path}/{name}: cannot be opened \(File exists\)"):
                bind_socket(context, zmq.ROUTER, "frames", settings(tmp_path, f"ipc://{tmp_path}/{name}"))
    assert (tmp_path / "link").read_text() == "every part"


def test_the_settings_are_checked_by_the_longest_of_the_private_sockets() -> None:
    assert max(len(link.name) for link in LINKS.values() if link.pattern == "push_pull") == len("prepare")
