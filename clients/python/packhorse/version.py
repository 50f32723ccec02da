"""The installed version, found only when it is asked for: looking costs more than the import."""

from functools import cache


@cache
def version() -> str:
    """As the installed distribution says; `0` where there is none, as in a bare source tree."""
    from importlib import metadata

    try:
        return metadata.version("packhorse")
    except metadata.PackageNotFoundError:
        return "0"


def library() -> str:
    """How this client names itself to a broker."""
    return f"packhorse-python/{version()}"
