"""The one exception that means: the user can fix this."""

import re


class UserError(ValueError):
    """Bad usage or bad input: one line that says what is wrong, where, and what to do.

    An error of a setting begins with its flag, as in `--alpha: must be between 0 and 1, not 2.0`; for users of Python
    with its name, `alpha: must be ...`.
    """

    def __init__(self, message: str, setting: str | None = None) -> None:
        super().__init__(message)
        found = _OF_SETTING.match(message)
        self.setting = found[1] if found else setting
        """The name of the setting that is wrong, "alpha"; None for another error."""

    @property
    def problem(self) -> str:
        """What is wrong, without the flag before it."""
        return _OF_SETTING.sub("", str(self), count=1)

    def without_flags(self) -> "UserError":
        """The same for who has set no flags: settings by their names alone."""
        return UserError(_FLAG.sub(r"\1", str(self)), self.setting)


_IN_TRACEBACK = re.compile(rf"{UserError.__module__}\.{UserError.__name__}: ([^\n]+)")
_OF_SETTING = re.compile(r"^--(\w+)(?:: | (?=is required))")
_FLAG = re.compile(r"(?<![\w-])--(\w+)")
_BEAM_SUFFIX = re.compile(r" \[while running .*$")


def find_user_error(error: BaseException) -> str | None:
    """Message of the `UserError` behind an exception, or None.

    A worker process sends its exception to the runner as a formatted traceback, so the class is lost and only the
    text is left to look at.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, UserError):
            return _BEAM_SUFFIX.sub("", str(seen).split("\n", 1)[0])
        seen = seen.__cause__ or seen.__context__
    found = _IN_TRACEBACK.findall(str(error))
    return _BEAM_SUFFIX.sub("", found[-1].split("\\n", 1)[0]) if found else None


def one_line(error: BaseException) -> str:
    """The message of an exception, without line breaks."""
    return " ".join(str(error).split()) or type(error).__name__
