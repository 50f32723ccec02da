import type { Problem } from "./messages.js";

/** What goes wrong. `code` is the protocol's, or `disconnected`, `closed`, `invalid`, `timeout`. */
export class PackhorseError extends Error {
    override readonly name: string = "PackhorseError";

    constructor(
        readonly code: string,
        message: string,
        /** Whether the same may succeed later, unchanged. */
        readonly retryable = false,
        /** Not before so long. */
        readonly retryAfterMs?: number,
        /** What was wrong, for programs: `path`, `limit`, `state`, `supported`, `job`, `paused`. */
        readonly details: Readonly<Record<string, string>> = {},
    ) {
        super(message);
    }
}

/** The broker refused a request, an item of it, or the client. */
export class Refused extends PackhorseError {
    override readonly name = "Refused";

    constructor(problem: Problem) {
        const { code, message, retryable, retry_after_ms, details } = problem;
        super(code, message, retryable, retry_after_ms, details);
    }
}

/** There is no connection; what had been asked may have been done or not. */
export class Disconnected extends PackhorseError {
    override readonly name = "Disconnected";

    constructor(message: string) {
        super("disconnected", message, true);
    }
}

/** The client is closed. */
export class Closed extends PackhorseError {
    override readonly name = "Closed";

    constructor(message = "the client is closed") {
        super("closed", message);
    }
}

/** What was given breaks the protocol, on our side or the broker's; `details.path` names the place. */
export class Invalid extends PackhorseError {
    override readonly name = "Invalid";

    constructor(message: string, path = "") {
        super("invalid", path ? `${path}: ${message}` : message, false, undefined, { path });
    }
}

/** What was waited for did not come in time. */
export class TimedOut extends PackhorseError {
    override readonly name = "TimedOut";

    constructor(message: string) {
        super("timeout", message, true);
    }
}

/** Thrown by a job's function: the attempt failed, on purpose. */
export class Fail extends Error {
    override readonly name: string;

    constructor(
        message: string,
        /** `retry` false: no further attempt. `retryInMs`: instead of the job's backoff. */
        readonly options: { type?: string; retry?: boolean; retryInMs?: number } = {},
    ) {
        super(message);
        this.name = options.type ?? "Fail";
    }
}

/** The reason of a running job's `signal`: it is to stop. */
export class Stopped extends Error {
    override readonly name = "Stopped";

    constructor(
        /** `cancelled`: the claim is still held, for `graceMs`. Else it is over, or given back. */
        readonly how: "cancelled" | "revoked" | "stale" | "released",
        message: string,
        readonly graceMs?: number,
    ) {
        super(message);
    }
}
