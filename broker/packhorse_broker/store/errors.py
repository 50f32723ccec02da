"""What the store package raises.

StoreError
+-- StoreUnavailable   nothing was written; the same request may succeed later
+-- OutcomeUnknown     the connection was lost around EXEC (settled inside this package)
+-- SchemaRefused      the store belongs to a newer Packhorse, or to something else
+-- StoreInconsistent  a command inside an EXEC failed: keys are not what they should be
"""


class StoreError(Exception):
    """Root of what this package raises."""


class StoreUnavailable(StoreError):
    """The store can't be reached or refuses writes; nothing was written."""


class OutcomeUnknown(StoreError):
    """EXEC was sent and its answer never came."""


class SchemaRefused(StoreError):
    """The store was not touched: see the message for what was found."""


class StoreInconsistent(StoreError):
    """A command failed inside an applied transaction: `packhorse fsck` says what is wrong."""
