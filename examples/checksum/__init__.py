"""Checksums of a folder's files, computed by several runner processes over a broker.

    python -m examples.checksum --dir FOLDER --out MANIFEST

`demo.py` starts everything and is the client; `runner.py` is what each runner process runs.
"""
