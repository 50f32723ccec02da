"""Starts the embedded store's server so that it does not outlive its broker.

Run as a script, with nothing imported but the standard library:

    python -I -S leash.py BROKER_PID PROGRAM [ARGUMENT ...]

On Linux the kernel then sends SIGTERM to the server when the thread that started this script
ends, however it ends; on SIGTERM the server writes its log out and leaves. Elsewhere the server
may outlive a killed broker, and the next broker on the same folder ends it. A script between the
two is safer than code of ours in a forked copy of a process that has threads.
"""

import contextlib
import os
import signal
import sys
from typing import Final

PR_SET_PDEATHSIG: Final = 1
"""From <linux/prctl.h>. It survives the exec below."""


def main(broker_pid: int, program: str, arguments: list[str]) -> None:
    if sys.platform == "linux":
        # A Python without ctypes starts the server unleashed, as on other systems.
        with contextlib.suppress(ImportError, OSError, AttributeError):
            import ctypes

            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != broker_pid:
            sys.exit("the broker ended before its store was started")
    os.execv(program, [program, *arguments])  # noqa: S606 - no shell is wanted here


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
