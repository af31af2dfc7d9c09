"""The on-disk cache by itself; what the JIT makes of it is tested with the JIT."""

import os
from pathlib import Path

import pytest

from luchina.runtime import cache


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    monkeypatch.setenv("LUCHINA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_what_is_stored_is_loaded():
    for size in (0, 1, 100_000):
        key, payload = cache.digest("size", str(size)), os.urandom(size)
        assert cache.load(key) is None
        assert cache.store(key, payload)
        assert cache.load(key) == payload


def test_a_later_payload_replaces_the_earlier():
    key = cache.digest("twice")
    cache.store(key, b"first")
    cache.store(key, b"second")
    assert cache.load(key) == b"second"


def test_no_temporary_file_is_left(own, monkeypatch):
    cache.store(cache.digest("a"), b"x")

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    assert not cache.store(cache.digest("b"), b"y")
    assert len([path for path in own.rglob("*") if path.is_file()]) == 1


def test_a_read_only_directory_is_no_error(own):
    own.mkdir()
    own.chmod(0o500)
    try:
        if os.access(own, os.W_OK):
            pytest.skip("this user may write everywhere")
        assert not cache.store(cache.digest("a"), b"x")
        assert cache.load(cache.digest("a")) is None
        assert cache.prune() == 0
    finally:
        own.chmod(0o700)


def test_a_directory_in_an_entrys_place_is_no_entry(own):
    key = cache.digest("a")
    Path(cache._path(str(own), key)).mkdir(parents=True)
    assert cache.load(key) is None
    assert not cache.store(key, b"x")


@pytest.mark.parametrize("word", ["", "0", "off", "OFF", "none"])
def test_off(monkeypatch, word):
    monkeypatch.setenv("LUCHINA_CACHE", word)
    assert cache.directory() is None
    assert not cache.store(cache.digest("a"), b"x")
    assert cache.load(cache.digest("a")) is None
    assert cache.prune() == 0


def test_the_platforms_own_directory(monkeypatch):
    monkeypatch.delenv("LUCHINA_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    monkeypatch.setattr(cache.sys, "platform", "linux")
    assert cache.directory() == Path("/somewhere/luchina")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.directory() == Path.home() / ".cache" / "luchina"


def test_pruning_removes_the_oldest(own, monkeypatch):
    keys = [cache.digest(str(i)) for i in range(10)]
    for age, key in enumerate(keys):
        cache.store(key, bytes(1000))
        os.utime(cache._path(str(own), key), (age, age))
    assert cache.prune() == 0
    monkeypatch.setattr(cache, "SIZE_LIMIT", 8000)
    assert 3 <= cache.prune() <= 6
    kept = [cache.load(key) is not None for key in keys]
    assert kept == sorted(kept) and kept[-1] and not kept[0]
    assert cache.prune() == 0
