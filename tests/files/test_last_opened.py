import contextlib

import pytest

from hir_transforms.files.last_opened import LastOpened


def test_a_file_stays_open_until_another_is_asked_for():
    events = []

    @contextlib.contextmanager
    def open_file(path):
        if path == "bad":
            raise ValueError(path)
        events.append(f"open {path}")
        yield path.upper()
        events.append(f"close {path}")

    with LastOpened(open_file) as files:
        assert [files.get(path) for path in ("a", "a", "b")] == ["A", "A", "B"]
        with pytest.raises(ValueError, match="bad"):
            files.get("bad")
        assert files.get("b") == "B"
    assert events == ["open a", "close a", "open b", "close b", "open b", "close b"]
