import msgspec
import pytest

from hir_transforms.common.errors import UserError
from hir_transforms.documents.known_files import KnownFiles
from hir_transforms.documents.records import SourceFile

FILES = [SourceFile(index, f"/data/{name}", name, 7, 1.5) for index, name in enumerate("abc")]


def changed(**fields):
    return msgspec.structs.replace(FILES[1], **fields)


def test_rows_of_the_files_pass():
    rows = [("first", {FILES[0].path: FILES[0]}), ("second", {file.path: file for file in FILES[1:]})]
    assert list(KnownFiles(FILES).check(rows)) == rows


@pytest.mark.parametrize(
    "other", [changed(path="/etc/passwd"), changed(name="d"), changed(size=8), changed(modified=2.5)], ids=str
)
def test_rows_of_any_other_file_are_an_error(other):
    rows = KnownFiles(FILES).check([("first", {FILES[0].path: FILES[0]}), ("second", {other.path: other})])
    assert next(rows)[0] == "first"
    with pytest.raises(UserError, match=f"the work folder names the file {other.path}, which is not as such one"):
        next(rows)


def test_a_file_under_another_name_is_an_error():
    with pytest.raises(UserError, match="the work folder names the file /etc/passwd"):
        next(KnownFiles(FILES).check([("rows", {"/etc/passwd": FILES[0]})]))


def test_a_file_that_is_not_listed_is_an_error():
    KnownFiles(FILES).require(FILES[0].path, FILES[0])
    with pytest.raises(UserError, match="the work folder names the file /data/a"):
        KnownFiles(FILES).require(FILES[0].path, None)


def test_no_file_is_one_of_none():
    assert FILES[0] not in KnownFiles([])
