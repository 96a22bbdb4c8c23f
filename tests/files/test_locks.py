import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from hir_transforms.common.errors import UserError
from hir_transforms.files.locks import locked

HOLD = """
import sys
from hir_transforms.files.locks import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    input()
"""

# Another run ends just before this one locks the file that it has opened.
OVERTAKE = """
import os, shutil, sys
from hir_transforms.common.errors import UserError
from hir_transforms.files.locks import locked
folder = sys.argv[1]
ended = []
def end_another(event, arguments):
    if event == "fcntl.flock" and not ended:
        ended.append(folder)
        shutil.rmtree(folder + ".lock")
sys.addaudithook(end_another)
with locked(folder):
    assert ended
    try:
        with locked(folder):
            print("locked twice")
    except UserError as error:
        print(error)
"""
# One run ends while another one begins: this one's file is gone and another's in its place when it lets go.
SUCCEED = """
import os, sys
from hir_transforms.files.locks import locked
folder = sys.argv[1]
ended, begun = [], []
def begin_another(event, arguments):
    if event == "os.rmdir":
        ended.append(folder)
    elif ended and not begun and event in ("os.remove", "fcntl.flock"):
        begun.append(folder)
        os.mkdir(folder + ".lock")
        open(folder + ".lock/lock", "w").write("process 1")
sys.addaudithook(begin_another)
with locked(folder):
    pass
print(open(folder + ".lock/lock").read())
"""


def run(script, folder):
    """What a script prints that is given a folder."""
    root = Path(__file__).parents[1]
    return subprocess.check_output([sys.executable, "-c", script, str(folder)], cwd=root, text=True)


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of `tmp_path/folder`."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "folder")]
    root = Path(__file__).parents[1]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_another_process_is_refused_with_the_holder_named(tmp_path, holder):
    folder = str(tmp_path / "folder")
    message = f"{folder} is in use by another run (process {holder.pid} on {socket.gethostname()})"
    with pytest.raises(UserError, match=re.escape(message)), locked(folder):
        pass


def test_the_lock_goes_with_a_killed_process(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with locked(str(tmp_path / "folder")):
        pass
    assert os.listdir(tmp_path) == []


def test_a_lock_on_a_file_that_has_been_removed_is_none(tmp_path):
    assert f"{tmp_path}/folder is in use by another run (process " in run(OVERTAKE, tmp_path / "folder")
    assert os.listdir(tmp_path) == []


def test_the_lock_file_of_the_next_run_is_left_alone(tmp_path):
    assert run(SUCCEED, tmp_path / "folder") == "process 1\n"


def test_two_runs_of_one_process_keep_apart(tmp_path):
    one, other = str(tmp_path / "one"), str(tmp_path / "other")
    with locked(one, other):
        for folder in (one, other):
            with (
                pytest.raises(UserError, match=f"{folder} is in use by another run .process {os.getpid()} "),
                locked(folder),
            ):
                pass
    with locked(one), locked(other):
        pass


def test_a_lock_leaves_nothing_and_nothing_stays_locked_after_an_error(tmp_path):
    folder = str(tmp_path / "deep" / "folder")
    with suppress(KeyError), locked(folder):
        assert not os.path.exists(folder)
        raise KeyError
    assert os.listdir(tmp_path / "deep") == []
    with locked(folder, folder):
        pass


def test_the_second_lock_fails_without_holding_the_first(tmp_path):
    one, other = str(tmp_path / "one"), str(tmp_path / "other")
    with locked(other):
        with pytest.raises(UserError, match=f"{other} is in use"), locked(one, other):
            pass
        with locked(one):
            pass


def test_a_folder_that_cannot_be_locked_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(UserError, match=f"cannot lock {tmp_path}/file/folder: "),
        locked(str(tmp_path / "file" / "folder")),
    ):
        pass


def test_a_file_of_the_user_is_not_taken_for_a_lock(tmp_path):
    path = tmp_path / "folder.lock" / "lock"
    path.parent.mkdir()
    path.write_text("precious")
    with (
        pytest.raises(UserError, match=r"cannot lock .*/lock is not a lock's file; move it away"),
        locked(str(tmp_path / "folder")),
    ):
        pass
    assert path.read_text() == "precious"


def test_a_lock_without_space_for_it_is_one_line(small_disk):
    with open(os.path.join(small_disk, "full"), "wb") as file, suppress(OSError):
        file.write(b"x" * (2 << 20))
    with pytest.raises(UserError, match=f"{small_disk}/folder"), locked(f"{small_disk}/folder"):
        pass
    assert os.listdir(small_disk) == ["full"]


def test_object_stores_have_no_locks(memory_store):
    with locked("mem://bucket/folder"), locked("mem://bucket/folder"):
        assert memory_store.objects == {}
