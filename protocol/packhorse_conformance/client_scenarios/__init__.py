"""Scenarios that test a client library: the kit plays the broker. A file for each subject."""
