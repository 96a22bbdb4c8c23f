import pickle
import traceback

import apache_beam as beam
import pytest

from hir_transforms.common.errors import UserError, find_user_error

MESSAGE = "--raw: no file matches /data/[x].jsonl"


def raised(function):
    """The exception that a call raises."""
    with pytest.raises(Exception) as caught:
        function()
    return caught.value


def fail(_=None):
    raise UserError(MESSAGE)


def fail_elsewhere(_=None):
    raise KeyError("hir_transforms.common.errors")


def fail_as_cause():
    try:
        fail()
    except UserError as error:
        raise RuntimeError("while doing this") from error


def fail_while_handling():
    try:
        fail()
    except UserError:
        raise RuntimeError("while doing that")  # noqa: B904


def fail_as_text():
    try:
        fail()
    except UserError:
        text = traceback.format_exc()
    raise RuntimeError(text)


def fail_as_nested_text():
    raise RuntimeError(f"Bundle failed: {str(raised(fail_as_text))!r}")


def fail_in_a_pipeline():
    pipeline = beam.Pipeline(runner="FnApiRunner")
    pipeline | beam.Create([1]) | "Read the data" >> beam.Map(fail)
    pipeline.run()


def fail_elsewhere_in_a_pipeline():
    pipeline = beam.Pipeline(runner="FnApiRunner")
    pipeline | beam.Create([1]) | beam.Map(fail_elsewhere)
    pipeline.run()


@pytest.mark.parametrize(
    "function", [fail, fail_as_cause, fail_while_handling, fail_as_text, fail_as_nested_text, fail_in_a_pipeline]
)
def test_the_message_is_found(function):
    assert find_user_error(raised(function)) == MESSAGE


@pytest.mark.parametrize("function", [fail_elsewhere, fail_elsewhere_in_a_pipeline, lambda: 1 / 0])
def test_other_errors_are_not_the_users(function):
    assert find_user_error(raised(function)) is None


def test_a_message_is_one_line():
    assert find_user_error(UserError("first\nsecond")) == "first"
    assert find_user_error(UserError("first [while running 'Map']")) == "first"


def test_the_last_of_several_errors_in_a_text_is_told():
    text = "\n".join(f"hir_transforms.common.errors.UserError: {name} [while running 'A']" for name in ("one", "two"))
    assert find_user_error(RuntimeError(text)) == "two"


def test_an_error_can_be_sent_to_another_process():
    error = pickle.loads(pickle.dumps(UserError(MESSAGE)))  # noqa: S301
    assert find_user_error(error) == str(error) == MESSAGE


def test_an_error_of_a_setting_names_it():
    error = UserError("--alpha: must be between 0 and 1, not 2.0")
    assert (error.setting, error.problem) == ("alpha", "must be between 0 and 1, not 2.0")
    required = UserError("--target is required")
    assert (required.setting, required.problem) == ("target", "is required")
    other = UserError("no space left on the disk; --alpha: helps nothing")
    assert (other.setting, other.problem) == (None, str(other))
    several = UserError("--num_to_sample and --num_tokens_to_sample: give one of them, not both")
    assert (several.setting, several.problem) == (None, str(several))
