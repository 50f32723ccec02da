"""`python -m packhorse.cli`: the command where its script is not on the path."""

from packhorse.cli import main

main()
