"""Functions whose source is written by this package, from the shapes of its records."""

import linecache
from collections.abc import Callable, Iterable
from typing import Any, cast


def compiled(
    name: str, argument: str, body: Iterable[str], *, of: str, names: dict[str, object]
) -> Callable[..., Any]:
    """The function with these lines; `names` are those that it refers to, `of` says for what it is.

    Tracebacks, debuggers and `inspect.getsource` show the lines.
    """
    source = f"def {name}({argument}):\n" + "".join(f"    {line}\n" for line in body)
    file_name = f"<{name} {of}>"
    # Every name and text in the source comes from the records of this package.
    exec(compile(source, file_name, "exec"), names)  # noqa: S102
    linecache.cache[file_name] = (len(source), None, source.splitlines(True), file_name)
    return cast(Callable[..., Any], names[name])
