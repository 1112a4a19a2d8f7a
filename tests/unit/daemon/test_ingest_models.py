"""The front door stamps every part with the model that judges it, and asks for models that frames name in vain."""

from __future__ import annotations

from mdss.wire.camera import Ack, Nack
from mdss.wire.messages import Accepted, Frame, Judged, Resend
from mdss.wire.model_plan import ModelPlan, ModelReport, model_key
from tests.front_door import Station, code_of, plan_of


def stamps(station: Station) -> list[tuple[str, int, str]]:
    """Return by which model each part is judged, as fusion and the workers are told."""
    told = [message for message in station.fusion.sent if isinstance(message, Accepted)]
    frames = [message for message in station.prepare.sent if isinstance(message, Frame)]
    return [
        (model_key(part.identity.recipe_id, part.model_version), part.generation, model_key(frame.recipe_id, frame.model_version))
        for part, frame in zip(told, frames, strict=True)
    ]


def word(station: Station) -> ModelReport:
    return station.intake.models


def test_a_part_is_judged_by_the_model_that_served_when_it_was_accepted() -> None:
    station = Station.introduced()
    station.send("f1")
    station.intake.follow(plan_of("gland", version="0002", revision=2))
    station.send("f2")
    assert stamps(station) == [("gland/0001", 1, "gland/0001"), ("gland/0002", 2, "gland/0002")]


def test_the_models_of_parts_under_way_are_named_until_their_verdicts_are_there() -> None:
    station = Station.introduced()
    station.send("f0")
    station.send("f1")
    station.judge("f0")
    station.intake.follow(plan_of("gland", version="0002", revision=2))
    station.send("f2")
    assert (word(station).revision, set(word(station).held)) == (2, {"gland/0001", "gland/0002"})
    station.judge("f1")
    assert set(word(station).held) == {"gland/0002"}


def test_a_second_attempt_within_one_life_is_by_the_same_model() -> None:
    station = Station.introduced()
    (ack,) = station.send("f1")
    assert isinstance(ack, Ack)
    station.intake.follow(plan_of("gland", version="0002", revision=2))
    station.intake.resend(Resend(result_id=ack.result_id, attempt=2, wanted=("rgb",)))
    station.outbox.flush(station.fusion, station.prepare)
    assert stamps(station) == [("gland/0001", 1, "gland/0001")] * 2


def test_a_recipe_that_is_not_loaded_is_refused_for_now_and_asked_for_until_it_is_there() -> None:
    station = Station.introduced()
    station.intake.follow(plan_of("gland", revision=2))
    (nack,) = station.send("f1", recipe_id="cap")
    assert isinstance(nack, Nack) and nack.code == "NOT_READY"
    assert nack.reason == "FRAME recipe_id: cap is not judged now: its model is being loaded; expected to be sent again"
    assert (word(station).wanted, word(station).asked) == (("cap",), {"cap": 1})
    station.intake.follow(plan_of("gland", "cap", revision=3))
    assert word(station).wanted == ()
    (ack,) = station.send("f1", recipe_id="cap")
    assert isinstance(ack, Ack)
    assert word(station).asked == {"cap": 2}


def test_the_reason_why_a_recipe_is_not_judged_reaches_the_camera() -> None:
    station = Station.introduced()
    station.intake.follow(ModelPlan(revision=2, reasons={"cap": "sdf-0: sdf.safetensors: no such file"}))
    (nack,) = station.send("f1", recipe_id="cap")
    assert isinstance(nack, Nack) and "cap is not judged now: sdf-0: sdf.safetensors: no such file;" in nack.reason


def test_an_unknown_recipe_is_refused_for_good_and_nothing_is_loaded_for_it() -> None:
    station = Station.introduced()
    assert code_of(station.send("f1", recipe_id="bolt")) == "UNKNOWN_RECIPE"
    assert word(station).wanted == ()


def test_what_an_earlier_life_accepted_needs_its_model_until_it_is_known_to_be_over() -> None:
    first = Station.introduced()
    first.send("f1")
    (accepted,) = (message for message in first.fusion.sent if isinstance(message, Accepted))
    first.journal.pending = lambda: [accepted]  # type: ignore[method-assign]
    second = Station.introduced(first.journal)
    second.intake.follow(plan_of("gland", version="0002", revision=2))
    assert set(word(second).held) == {"gland/0001"}
    second.send("f1")
    assert set(word(second).held) == {"gland/0002"}, "its camera sent it again, so it is judged anew"
    assert stamps(second) == [("gland/0002", 2, "gland/0002")]
    second.intake.note_verdicts([Judged(result_id=accepted.result_id, sequence=1)])
    assert word(second).held == {}
