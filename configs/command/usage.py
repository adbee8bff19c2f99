"""The error of a command line that makes no sense."""


class UsageError(ValueError):
    """A command line that makes no sense; the text is one line."""


class UnknownFlagError(UsageError):
    """A flag that does not exist, at least among those of the parts that are registered so far."""
