"""Everything that knows the store: its keys, its records, its transactions.

Above this package nobody sees a key, a connection or a reply. See `keys.py` for what is kept
where, `indexes.py` for which index entries a job has, `committer.py` for how changes are made.
"""
