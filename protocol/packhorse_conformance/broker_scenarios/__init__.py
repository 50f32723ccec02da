"""Scenarios that test a broker from outside. A file for each subject."""
