"""Plans go to the processes, generations to the next life, requests come in; and what the store says without being loaded."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from daemon.doctor_models import model_findings
from daemon.finding import Case
from daemon.model_plan_store import ModelPlanStore, request_preload
from daemon.stored_models import StoredModels
from mdss.errors import MdssError
from mdss.settings import BranchesSettings, BranchSettings, ModelSettings, Settings, StationSettings
from mdss.wire.model_plan import PLAN, ModelPlan, PlanFile, Served
from tests.fakes import refuses_with


@pytest.fixture
def place(tmp_path: Path) -> StationSettings:
    for name in ("state", "run"):
        (tmp_path / name).mkdir()
    return StationSettings(state_directory=str(tmp_path / "state"), runtime_directory=str(tmp_path / "run"))


def test_a_plan_is_read_once_and_again_when_it_is_another(place: StationSettings) -> None:
    plans, reader = ModelPlanStore(place), PlanFile(Path(place.runtime_directory))
    assert reader.changed() is None
    for revision in (1, 2):
        plan = ModelPlan(revision=revision, serving={"cap": Served("0001", 1)}, held=("cap/0001",))
        plans.write(plan)
        assert (reader.changed(), reader.changed()) == (plan, None)


def test_wishes_wait_while_the_machine_has_no_file_left_to_open(place: StationSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    plans = ModelPlanStore(place)
    request_preload(place, "cap")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "glob", refuses_with(errno.ENFILE))
        assert list(plans.preload_requests()) == []
    assert list(plans.preload_requests()) == ["cap"]


def test_a_plan_that_nobody_can_read_is_named(place: StationSettings) -> None:
    path = Path(place.runtime_directory) / PLAN
    path.write_text("{")
    with pytest.raises(MdssError, match=r"models\.json: cannot be read"):
        PlanFile(path.parent).changed()


def test_a_generation_is_new_for_another_version_only_and_goes_on_in_the_next_life(place: StationSettings) -> None:
    plans = ModelPlanStore(place)
    given = [
        plans.generation_of(*asked) for asked in (("cap", "0001"), ("cap", "0001"), ("gland", "0001"), ("cap", "0002"), ("cap", "0001"))
    ]
    assert given == [1, 1, 2, 3, 4]
    plans.write(ModelPlan(revision=1))
    again = ModelPlanStore(place)
    assert [again.generation_of(*asked) for asked in (("cap", "0001"), ("gland", "0002"))] == [4, 5]


def test_generations_that_cannot_be_read_keep_no_station_from_starting(place: StationSettings) -> None:
    (Path(place.state_directory) / PLAN).write_text("[]")
    assert ModelPlanStore(place).generation_of("cap", "0001") == 1


def test_a_wish_is_heard_once(place: StationSettings) -> None:
    request_preload(place, "cap.v2")
    plans = ModelPlanStore(place)
    assert (list(plans.preload_requests()), list(plans.preload_requests())) == (["cap.v2"], [])


def test_a_wish_without_a_station_is_a_sentence(place: StationSettings) -> None:
    Path(place.runtime_directory).rmdir()
    with pytest.raises(
        MdssError, match=r"cap\.preload: cannot be written .* a running station and its own user, .*sudo -u mdss .*preload cap"
    ):
        request_preload(place, "cap")


def test_the_store_says_which_version_is_the_champion_or_what_is_there_instead(tmp_path: Path) -> None:
    store = StoredModels(Settings(models=ModelSettings(store=str(tmp_path), recipes=("cap",))))
    (tmp_path / "cap" / "0003").mkdir(parents=True)
    with pytest.raises(MdssError, match=r"cap/champion: no such model; expected one made by `mdss train .*, or .*promote`"):
        store.champion("cap")
    link = tmp_path / "cap" / "champion"
    for target in ("0004", "../cap/0003", str(tmp_path)):
        link.symlink_to(target)
        with pytest.raises(MdssError, match="found a link to"):
            store.champion("cap")
        link.unlink()
    link.symlink_to("0003")
    assert store.champion("cap") == "0003"
    link.unlink()
    link.mkdir()
    with pytest.raises(MdssError, match="cannot be read"):
        store.champion("cap")


def test_a_version_that_the_disk_does_not_show_is_a_sentence_and_ends_nobody(tmp_path: Path) -> None:
    (tmp_path / "cap").mkdir()
    (tmp_path / "cap" / "champion").symlink_to("0003")
    (tmp_path / "cap" / "0003").symlink_to("x" * 300)  # as EIO or ESTALE of a failing disk, but any machine can have it
    settings = Settings(models=ModelSettings(store=str(tmp_path), recipes=("cap",)))
    with pytest.raises(MdssError, match=r"cap/champion: cannot be read \(File name too long\)"):
        StoredModels(settings).champion("cap")
    (found,) = model_findings(Case(settings))
    assert found.level == "bad" and "cannot be read (File name too long)" in found.found


def test_a_version_counts_with_its_weights_for_each_process_that_holds_them(tmp_path: Path) -> None:
    branches = BranchesSettings(rgb=BranchSettings(count=2), sdf=BranchSettings(count=3))
    store = StoredModels(Settings(models=ModelSettings(store=str(tmp_path)), branches=branches))
    (tmp_path / "cap" / "0001").mkdir(parents=True)
    assert store.nbytes("cap", "0001") == 0
    (tmp_path / "cap" / "0001" / "rgb.safetensors").write_bytes(bytes(100))
    (tmp_path / "cap" / "0001" / "sdf.safetensors").write_bytes(bytes(10))
    assert store.nbytes("cap", "0001") == 2 * 100 + 3 * 10
