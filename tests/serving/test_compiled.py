"""Compiled code on disk belongs to one state of the source."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.serving import compiled


def test_any_change_of_any_source_changes_the_hash(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "a.py").write_text("x = 1")
    (tmp_path / "inner" / "b.py").write_text("y = 1")
    before = compiled.source_hash(tmp_path)
    assert compiled.source_hash(tmp_path) == before
    (tmp_path / "inner" / "b.py").write_text("y = 2")
    assert compiled.source_hash(tmp_path) != before


def test_the_folder_is_in_the_user_cache_and_has_a_fallback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled.cache_folder.cache_clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert compiled.cache_folder().parent == tmp_path / "mprec-sim"
    compiled.cache_folder.cache_clear()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert compiled.cache_folder().is_dir()
    compiled.cache_folder.cache_clear()


def test_the_same_function_is_compiled_once() -> None:
    def double(x: int) -> int:
        return 2 * x

    assert compiled.jit(double) is compiled.jit(double)
