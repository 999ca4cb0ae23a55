"""The newest two states: what a store may do to them, and what is refused."""

import dataclasses
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from model import State, checkpoint
from model.checkpoint import pack
from model.statestore import MAY_CHANGE, StateError, StateStore
from settings import Settings

OPTIONS = Settings.from_parameters({"seed": "3"})


class Objects(dict):
    """An Object Store in memory; `fails` says what a save does: nothing wrong, or how it goes wrong."""

    fails = ""
    room = 10**9

    def contains_key(self, key: str) -> bool:
        return key in self

    def read_bytes(self, key: str) -> bytes:
        if self.fails == "cannot read":
            raise RuntimeError("token 4711")
        return self[key]

    def save_bytes(self, key: str, content: bytes) -> bool:
        others = sum(len(value) for name, value in self.items() if name != key)
        if self.fails == "refuses" or others + len(content) > self.room:
            return False
        if self.fails == "raises":
            raise RuntimeError("token 4711")
        if self.fails == "half":
            self[key] = content[: len(content) // 2]
            return False
        self[key] = content[:-1] if self.fails == "lies" else content
        return True

    def delete(self, key: str) -> bool:
        return self.pop(key, None) is not None


class Kept:
    """A store with its log."""

    def __init__(self, objects: Objects, options: Settings = OPTIONS) -> None:
        self.lines: list[str] = []
        self.store = StateStore(objects, "x", options, self.lines.append)


def state(number: int) -> State:
    return State({"a": np.full(3, number, np.float32)}, number, None, {"note": number})


def number_of(loaded: State | None) -> int:
    assert loaded is not None
    assert loaded.extra == {"note": loaded.step}
    assert loaded.arrays["a"].tolist() == [loaded.step] * 3
    return loaded.step


@pytest.fixture
def objects() -> Objects:
    """After three saves: the second in x-b, the third in x-a."""
    made = Objects()
    kept = Kept(made)
    for number in (1, 2, 3):
        assert kept.store.save(state(number)) == ""
    return made


def test_an_empty_store_has_no_state():
    assert Kept(Objects()).store.load() is None


def test_the_newest_is_loaded_and_the_one_before_is_there(objects):
    assert sorted(objects) == ["x-a", "x-b"]
    assert number_of(Kept(objects).store.load()) == 3
    del objects["x-a"]
    assert number_of(Kept(objects).store.load()) == 2


@pytest.mark.parametrize("looked", [True, False])
def test_a_run_goes_on_in_the_place_of_the_older_one(looked, objects):
    kept = Kept(objects)
    if looked:
        kept.store.load()
    newest = objects["x-a"]
    assert kept.store.save(state(4)) == ""
    assert objects["x-a"] == newest
    assert number_of(Kept(objects).store.load()) == 4


@pytest.mark.parametrize("how", ["refuses", "raises", "half", "lies"])
def test_whatever_a_save_does_the_last_good_state_stays(how, objects):
    kept = Kept(objects)
    for _ in range(3):
        objects.fails = how
        assert kept.store.save(state(4))
        objects.fails = ""
        assert number_of(Kept(objects).store.load()) == 3
    assert kept.store.save(state(4)) == ""
    assert number_of(Kept(objects).store.load()) == 4


def test_the_text_of_a_foreign_exception_is_not_repeated(objects):
    objects.fails = "raises"
    assert Kept(objects).store.save(state(4)) == "it failed with RuntimeError"
    objects.fails = "cannot read"
    with pytest.raises(StateError, match=r"x-a: the Object Store cannot be read \(RuntimeError\)") as refusal:
        Kept(objects).store.load()
    assert "4711" not in str(refusal.value)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("a pickle was executed",)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: pickle.dumps(Bomb()),
        lambda data: b"[" * 10**6,
    ],
)
def test_a_broken_state_is_kept_aside_and_the_one_before_is_used(spoil, objects):
    objects["x-a"] = broken = spoil(objects["x-a"])
    kept = Kept(objects)
    assert number_of(kept.store.load()) == 2
    assert objects["x-broken"] == broken
    assert len(kept.lines) == 1
    assert kept.lines[0].endswith("the one before it is used; it is kept as x-broken")
    kept.store.save(state(3))
    assert number_of(Kept(objects).store.load()) == 3


def test_only_the_last_broken_state_is_kept(objects):
    for content in (b"one", b"two"):
        objects["x-a"] = content
        Kept(objects).store.load()
    assert sorted(objects) == ["x-a", "x-b", "x-broken"]
    assert objects["x-broken"] == b"two"


def test_what_is_kept_aside_makes_room_for_a_new_state(objects):
    objects["x-a"] = b"0" * len(objects["x-b"])
    objects.room = len(objects["x-b"]) * 5 // 2
    kept = Kept(objects)
    kept.store.load()
    assert "it is kept" not in kept.lines[0]  # for want of room
    objects["x-broken"] = b"0" * len(objects["x-b"])
    assert kept.store.save(state(3)) == ""
    assert sorted(objects) == ["x-a", "x-b"]
    assert number_of(Kept(objects).store.load()) == 3


def test_a_first_state_that_was_cut_short_is_no_loss():
    objects = Objects()
    objects.fails = "half"
    Kept(objects).store.save(state(1))
    objects.fails = ""
    kept = Kept(objects)
    assert kept.store.load() is None
    assert "starting anew loses nothing" in kept.lines[0]
    assert kept.store.save(state(1)) == ""
    assert number_of(Kept(objects).store.load()) == 1


@pytest.mark.parametrize("left", [("x-a", "x-b"), ("x-b",)])
def test_where_nothing_good_is_left_the_run_stops_with_every_reason(left, objects):
    spoilt = Objects(dict.fromkeys(left, b"nothing"))
    with pytest.raises(StateError, match=r"no state in the Object Store can be used \(x-") as refusal:
        Kept(spoilt).store.load()
    assert str(refusal.value).count("the bytes are no checkpoint") == len(left)
    assert sorted(spoilt) == sorted(left)


def test_a_state_of_a_later_version_stops_the_run_though_there_is_an_older_one(objects, monkeypatch):
    monkeypatch.setattr(checkpoint, "SCHEMA", 9)
    Kept(objects).store.save(state(4))
    monkeypatch.undo()
    with pytest.raises(StateError, match=r"x-b: the checkpoint has schema 9 .* use the version that wrote it, or"):
        Kept(objects).store.load()


def test_what_is_larger_than_any_state_is_not_unpacked(objects, monkeypatch):
    monkeypatch.setattr(checkpoint, "MAX_BYTES", len(objects["x-a"]))
    objects["x-a"] += b"0"
    monkeypatch.setattr(checkpoint.json, "loads", lambda text: pytest.fail("parsed") if b"0" * 9 in text else None)
    kept = Kept(objects)
    with pytest.raises(StateError, match="more than any state"):
        objects.pop("x-b")
        objects["x-b"] = objects["x-a"]
        kept.store.load()


def test_settings_that_differ_are_named(objects):
    other = Settings.from_parameters({"seed": "4", "lora_r": "2"})
    with pytest.raises(
        StateError, match="other settings: seed is 3 there and 4 here, lora_r is 8 there and 2 here: set them back, or"
    ):
        Kept(objects, other).store.load()


def test_every_setting_is_compared_but_those_that_may_change(objects):
    names = Settings().as_parameters()
    assert names.keys() >= MAY_CHANGE
    saved = Kept(objects).store.load()
    for name in names:
        text = "9" if name not in ("start", "end") else "2012-01-01"
        made = pack(dataclasses.replace(saved, extra={"note": 3, "settings": OPTIONS.as_parameters() | {name: text}}))
        loading = Kept(Objects({"x-a": made})).store.load
        if name in MAY_CHANGE:
            assert number_of(loading()) == 3
        else:
            with pytest.raises(StateError, match=f"{name} is 9 there and"):
                loading()


def test_a_setting_that_the_saved_state_does_not_know_had_its_default(objects):
    saved = Kept(objects).store.load()
    known = {name: value for name, value in OPTIONS.as_parameters().items() if name != "eta"}
    store = Objects({"x-a": pack(dataclasses.replace(saved, extra={"note": 3, "settings": known}))})
    assert number_of(Kept(store).store.load()) == 3
    with pytest.raises(StateError, match=r"eta is 0\.01 there and 0\.5 here"):
        Kept(store, Settings.from_parameters({"seed": "3", "eta": "0.5"})).store.load()


@given(st.binary(max_size=400), st.binary(max_size=400), st.integers(0, 2))
@examples(max_examples=300, deadline=None)
def test_whatever_lies_in_the_store_is_loaded_or_refused_with_a_sentence(one, other, good):
    objects = Objects({"x-a": one, "x-b": other})
    if good:
        kept = Kept(Objects())
        kept.store.save(state(1))
        objects["x-" + "ab"[good - 1]] = kept.store._objects["x-a"]
    try:
        assert number_of(Kept(objects).store.load()) == 1
    except StateError as refusal:
        assert not good
        assert "no state in the Object Store can be used" in str(refusal)


@given(st.lists(st.sampled_from(["", "refuses", "raises", "half", "lies", "restart", "spoil"]), max_size=30))
@examples(max_examples=200, deadline=None)
def test_after_any_faults_the_newest_state_that_was_stored_is_loaded(events):
    """One state may be spoilt between two that were stored, as two would leave nothing."""
    objects, number, stored = Objects(), 0, []
    kept = Kept(objects)
    for event in events:
        if event == "restart":
            kept = Kept(objects)
            assert (number_of(kept.store.load()) if stored else kept.store.load()) == (stored[-1] if stored else None)
        elif event == "spoil":
            good = [key for key, data in objects.items() if key != "x-broken" and not _is_broken(data)]
            if len(good) == 2:
                newest = max(good, key=lambda key: checkpoint.unpack(objects[key]).step)
                objects[newest] = objects[newest][:-1]
                stored.pop()
                kept = Kept(objects)
                kept.store.load()
        else:
            number += 1
            objects.fails = event
            if not kept.store.save(state(number)):
                stored.append(number)
            objects.fails = ""
    assert (Kept(objects).store.load() is None) == (not stored)


def _is_broken(data: bytes) -> bool:
    try:
        checkpoint.unpack(data)
    except checkpoint.CheckpointError:
        return True
    return False
