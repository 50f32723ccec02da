"""Packhorse and other job queues side by side: see README.md, `make bench-peers`."""
