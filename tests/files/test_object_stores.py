import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from hir_transforms.common.errors import UserError
from hir_transforms.files import object_stores


def test_a_scheme_that_beam_does_not_know_is_named_with_its_flag():
    with pytest.raises(UserError, match=r"^--raw: Beam has no file system for nothing:// here$"):
        object_stores.connect(PipelineOptions([]), {"raw": "nothing://bucket/a.jsonl"})


def test_a_whole_bucket_is_refused():
    with pytest.raises(UserError, match=r"^--output: s3://bucket is a whole bucket; name a file or folder in it$"):
        object_stores.connect(PipelineOptions([]), {"output": "s3://bucket/"})


def test_errors_of_a_store_take_one_line_and_others_pass():
    with (
        pytest.raises(UserError, match=r"^cannot read mem://bucket/a: the connection broke$"),
        object_stores.user_errors("read", "mem://bucket/a"),
    ):
        raise OSError("the\nconnection  broke")
    with pytest.raises(ZeroDivisionError), object_stores.user_errors("read", "mem://bucket/a"):
        raise ZeroDivisionError
