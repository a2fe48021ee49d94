"""What is sent to a process that has none of the files: source that is kept once, and not beyond the process."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from sim.study.shipping import Parcel

# What a worker does: it opens what it gets, here the same source twice, another version, and the first once more.
WORKER = """
import pickle, sys
from pathlib import Path
for number, file in enumerate(sys.argv[1:]):
    parcel = pickle.loads(Path(file).read_bytes())
    function = parcel.open()
    here = Path(sys.modules["sent_mine"].__file__).parent
    print(function(), here, len(sys.path))
    if number == 3:
        # As what cleans a temporary folder does.
        (here / "sent_mine.py").unlink()
"""


def test_source_is_unpacked_once_and_removed_with_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    for version in "ab":
        (tmp_path / "sent_beside.py").write_text(f"TEXT = {version!r}\n")
        (tmp_path / "sent_mine.py").write_text("from sent_beside import TEXT\n\n\ndef mine():\n    return TEXT\n")
        for name in ("sent_mine", "sent_beside"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        mine = __import__("sent_mine").mine
        (tmp_path / version).write_bytes(pickle.dumps(Parcel(mine, [mine])))
    for name in ("sent_mine", "sent_beside"):
        monkeypatch.delitem(sys.modules, name)
        (tmp_path / f"{name}.py").unlink()
    (tmp_path / "elsewhere").mkdir()
    opened = subprocess.run(
        [sys.executable, "-c", WORKER, *(str(tmp_path / one) for one in "aabaa")],
        cwd=tmp_path / "elsewhere",
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    rows = [line.split() for line in opened.stdout.splitlines()]
    texts, folders, lengths = zip(*rows, strict=True)
    assert texts == ("a", "a", "b", "a", "a")
    assert folders[0] == folders[1] == folders[3] != folders[2]
    assert folders[4] not in folders[:4]
    assert len(set(lengths[2:4])) == 1
    assert not any(Path(folder).exists() for folder in folders)
