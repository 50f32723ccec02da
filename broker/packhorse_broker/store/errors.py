"""What the store package raises.

StoreError
+-- StoreUnavailable   nothing was written; the same request may succeed later
|   +-- StoreFull      because the store's memory is full
+-- OutcomeUnknown     the connection was lost around EXEC (settled inside this package)
+-- StoreUnsafe        the store's settings contradict what the broker is to promise
+-- SchemaRefused      the store belongs to a newer Packhorse, or to something else
+-- StoreInconsistent  a command inside an EXEC failed: keys are not what they should be
"""


class StoreError(Exception):
    """Root of what this package raises."""


class StoreUnavailable(StoreError):
    """The store can't be reached or refuses writes; nothing was written."""


class StoreFull(StoreUnavailable):
    """The store's memory is full: it takes what ends jobs, and nothing that makes it grow."""


class OutcomeUnknown(StoreError):
    """EXEC was sent and its answer never came."""


class StoreUnsafe(StoreError):
    """The store would lose jobs without a word: see the message for what is to be set."""


class SchemaRefused(StoreError):
    """The store was not touched: see the message for what was found."""


class StoreInconsistent(StoreError):
    """A command failed inside an applied transaction: `packhorse fsck` says what is wrong."""
