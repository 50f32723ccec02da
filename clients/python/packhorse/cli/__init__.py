"""The `packhorse` command."""

from packhorse.cli.main import main

__all__ = ["main"]
