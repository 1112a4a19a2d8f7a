"""A disk that never answers: who asks goes on, and asks again once it does."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from daemon.stored_models import StoredModels
from daemon.timed_questions import TimedQuestions
from mdss.errors import MdssError
from mdss.settings import ModelSettings, Settings

LONG_S = 20.0  # for what does answer: busy cores may be slow


def test_what_a_question_comes_to_or_raises_is_its_answer() -> None:
    patience = TimedQuestions(LONG_S)
    assert patience.ask(lambda: 7, "store") == 7
    with pytest.raises(FileNotFoundError, match="gone"):
        patience.ask(lambda: Path("gone").readlink(), "store")


def test_a_question_without_an_answer_is_given_up_and_none_is_asked_behind_it_until_it_ends() -> None:
    answers, patience, asked = threading.Event(), TimedQuestions(0.5), list[int]()
    with pytest.raises(MdssError, match=r"store: the disk does not answer; expected it to within 0\.5 s"):
        patience.ask(answers.wait, "store")
    with pytest.raises(MdssError, match="other: the disk does not answer"):
        patience.ask(lambda: asked.append(1), "other")
    assert asked == []
    assert patience._asked is not None
    answers.set()
    patience._asked.result(LONG_S)
    patience._patience_s = LONG_S
    assert patience.ask(lambda: 8, "store") == 8


def test_a_question_that_has_its_answer_is_over_though_its_thread_has_not_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    may_end, patience = threading.Event(), TimedQuestions(LONG_S)

    class Lingering(threading.Thread):
        def run(self) -> None:
            super().run()
            may_end.wait()

    monkeypatch.setattr(threading, "Thread", Lingering)
    assert (patience.ask(lambda: 7, "store"), patience.ask(lambda: 8, "store")) == (7, 8)
    may_end.set()


def test_a_machine_without_threads_is_a_sentence_and_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    patience = TimedQuestions(LONG_S)
    with monkeypatch.context() as patch:
        patch.setattr("threading._start_new_thread", refuse_thread)
        with pytest.raises(MdssError, match=r"store: cannot be asked \(can't start new thread\); expected"):
            patience.ask(lambda: 7, "store")
    assert patience.ask(lambda: 7, "store") == 7


def refuse_thread(*_: object) -> int:
    raise RuntimeError("can't start new thread")


def test_a_store_that_hangs_is_a_sentence_and_a_size_that_is_known_needs_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patience = TimedQuestions(LONG_S)
    store = StoredModels(Settings(models=ModelSettings(store=str(tmp_path), recipes=("cap",))), patience)
    (tmp_path / "cap" / "0001").mkdir(parents=True)
    (tmp_path / "cap" / "champion").symlink_to("0001")
    for name in ("rgb", "sdf"):
        (tmp_path / "cap" / "0001" / f"{name}.safetensors").write_bytes(bytes(100))
    assert (store.champion("cap"), store.nbytes("cap", "0001")) == ("0001", 200)
    answers, patience._patience_s = threading.Event(), 0.5
    with monkeypatch.context() as patch:
        patch.setattr(Path, "readlink", lambda _: answers.wait())
        with pytest.raises(MdssError, match="cap/champion: the disk does not answer"):
            store.champion("cap")
    assert (store.nbytes("cap", "0001"), store.nbytes("cap", "0002")) == (200, 0)
    answers.set()
