"""What a camera may leave out or add, as the wire's page says."""

from __future__ import annotations

import msgspec
import pytest

from mdss.wire import camera
from mdss.wire.cloud import Invalid
from tests.unit.wire.test_camera import header, payloads


def test_a_camera_may_leave_out_the_schema_and_say_more_where_nothing_can_be_lost() -> None:
    for said in (b'{"source_id": "c"}', b'{"source_id": "c", "schema": "mdss.frame.v1", "vendor": "x"}'):
        assert camera.parse([camera.MAGIC, b"HELLO", said]) == camera.Hello(source_id="c")
    for kind, message in ((b"PING", camera.Ping(source_id="c")), (b"EOS", camera.Eos(source_id="c"))):
        assert camera.parse([camera.MAGIC, kind, b'{"source_id": "c", "vendor": "x"}', b"payload"]) == message
    fields = msgspec.to_builtins(header())
    del fields["schema"]
    got = camera.parse([camera.MAGIC, b"FRAME", msgspec.json.encode(fields), *payloads()])
    assert isinstance(got, camera.FrameMessage) and got.header == header()


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ({"kind": "value"}, Invalid(kind="value", value=0.0)),
        ({"kind": "confidence"}, Invalid(kind="confidence", value=0.0)),
        ({"value": -1.0}, Invalid(kind="nan", value=-1.0)),
        ({}, Invalid(kind="nan", value=0.0)),
    ],
)
def test_a_mark_without_its_value_is_0_and_without_its_kind_it_is_nan(said: dict[str, object], meant: Invalid) -> None:
    fields = msgspec.to_builtins(header()) | {"xyz": {"unit": "mm", "invalid": said}}
    got = camera.parse([camera.MAGIC, b"FRAME", msgspec.json.encode(fields), *payloads()])
    assert isinstance(got, camera.FrameMessage) and got.header.xyz.invalid == meant
