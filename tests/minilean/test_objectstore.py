"""The Object Store: LEAN's keys and answers, nothing outside its folder, files whole or not at all."""

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minilean.objectstore import ObjectStore
from minilean.system import ArgumentException, KeyNotFoundException


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return ObjectStore(tmp_path / "storage")


def test_what_was_saved_is_read_back(store, tmp_path):
    assert store.save_bytes("a/b.bin", b"\x00\x01\xff")
    assert store.save("a/t.json", "{}")
    assert store.save_json("n.json", {"x": [1, 2]})
    assert store.read_bytes("a/b.bin") == b"\x00\x01\xff"
    assert store.read("a/b.bin") == "\x00\x01\ufffd"
    assert store.read_json("n.json") == {"x": [1, 2]}
    assert sorted(store.keys) == ["a/b.bin", "a/t.json", "n.json"]
    assert ObjectStore(tmp_path / "storage").read("a/t.json") == "{}"


def test_an_unknown_key_is_not_contained_and_cannot_be_read_nor_deleted(store):
    assert not store.contains_key("a")
    assert not store.delete("a")
    with pytest.raises(KeyNotFoundException, match="Object with path 'a' was not found in the current project"):
        store.read_bytes("a")


def test_a_deleted_key_is_gone(store):
    store.save("a", "1")
    assert store.delete("a")
    assert store.keys == []


def test_a_file_written_at_the_keys_path_is_stored_by_save(store):
    Path(store.get_file_path("direct/file.txt")).write_text("hello")
    assert store.save("direct/file.txt")
    assert store.read("direct/file.txt") == "hello"


def test_a_key_whose_path_was_asked_for_is_contained_but_empty_until_it_is_written(store):
    store.get_file_path("new/file.pt")
    assert store.contains_key("new/file.pt")
    assert store.keys == ["new/file.pt"]
    assert store.read_bytes("new/file.pt") is None
    with pytest.raises(ArgumentException, match=r"There is no file associated with path new/file\.pt"):
        store.save("new/file.pt")


@pytest.mark.parametrize("key", ["../x", "a/../../x", "..", "", "/", "../../x", "a.b.json", "a\nb", "ä", "a:b"])
def test_a_key_that_lean_does_not_take_is_not_saved(store, tmp_path, key):
    for attempt in (lambda: store.save(key, "1"), lambda: store.save_bytes(key, b""), lambda: store.get_file_path(key)):
        with pytest.raises(ArgumentException, match="LocalObjectStore: path is not supported"):
            attempt()
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize("key", ["a/../../secret", "../../secret", "..\\..\\secret"])
def test_nothing_outside_the_folder_can_be_read_or_deleted(store, tmp_path, key):
    (tmp_path / "secret").write_text("1")
    for attempt in (store.contains_key, store.read_bytes, store.delete, store.get_file_path):
        with pytest.raises(ArgumentException, match="path is not supported"):
            attempt(key)
    assert (tmp_path / "secret").exists()


@pytest.mark.parametrize("key", ["/a/b", "./a/b", "a\\b"])
def test_dots_and_slashes_at_the_beginning_are_dropped(store, key):
    assert store.save_bytes("a/b", b"1")
    assert store.save_bytes(key, b"2")
    assert store.read_bytes("a/b") == store.read_bytes(key) == b"2"
    assert store.keys == ["a/b"]


def test_a_link_out_of_the_folder_is_not_followed(store, tmp_path):
    (tmp_path / "secret").write_text("1")
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "storage" / "folder").symlink_to(tmp_path)
    for key in ("link", "folder/secret"):
        with pytest.raises(ArgumentException, match="path is not supported"):
            store.read_bytes(key)
        with pytest.raises(ArgumentException, match="path is not supported"):
            store.save(key, "2")
    assert (tmp_path / "secret").read_text() == "1"


def test_a_write_that_fails_leaves_the_old_content_and_nothing_else(store, tmp_path, monkeypatch):
    store.save("state", "old")

    def fail(handle: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    assert not store.save("state", "new")
    assert store.read("state") == "old"
    assert [path.name for path in (tmp_path / "storage").iterdir()] == ["state"]


def test_a_crash_in_the_middle_leaves_the_old_content(store, tmp_path, monkeypatch):
    store.save("state", "old")

    def crash(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        store.save("state", "new")
    assert store.read("state") == "old"
    assert [path.name for path in (tmp_path / "storage").iterdir()] == ["state"]


def test_a_file_in_the_place_of_a_folder_makes_save_return_false(store):
    store.save("a", "1")
    assert not store.save("a/b", "2")


@given(st.text(st.sampled_from("./\\ab\0:~ -_#$=") | st.characters(), max_size=12) | st.text("ab", min_size=200))
@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_key_whatsoever_reads_or_writes_outside_the_folder(tmp_path, key):
    outside = tmp_path / "outside"
    outside.write_bytes(b"secret")
    store = ObjectStore(tmp_path / "storage")
    for use in (lambda: store.save_bytes(key, b"1"), lambda: store.read_bytes(key), lambda: store.delete(key)):
        with contextlib.suppress(ArgumentException, KeyNotFoundException):
            assert use() in (True, False, b"1")
    assert outside.read_bytes() == b"secret"
    assert {path.name for path in tmp_path.iterdir()} <= {"outside", "storage"}
