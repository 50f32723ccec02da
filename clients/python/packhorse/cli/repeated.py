"""Options that take one value, given twice: refused, where click would keep the last one."""

from collections import Counter
from collections.abc import Sequence

import click


def check_given_once(command: click.Command, context: click.Context, given: Sequence[str]) -> None:
    """Raises `UsageError` for an option in these arguments that is there twice.

    Flags may be repeated, they say the same again. `context` is the command's own.
    """
    try:
        _, rest, order = command.make_parser(context).parse_args(list(given))
    except click.UsageError:
        return  # which the command says itself
    for parameter, times in Counter(order).items():
        if isinstance(parameter, click.Option) and times > 1 and _takes_one(parameter):
            raise click.UsageError(
                f"{parameter.opts[-1]} is given {times} times: it takes one value"
            )
    if isinstance(command, click.Group) and rest:
        inner = command.commands.get(rest[0])
        if inner is not None:
            own = click.Context(inner, parent=context, info_name=rest[0])
            check_given_once(inner, own, rest[1:])


def _takes_one(option: click.Option) -> bool:
    return not (option.is_flag or option.multiple or option.count)
