"""The `packhorse` command."""

from packhorse.cli.command import main

__all__ = ["main"]
