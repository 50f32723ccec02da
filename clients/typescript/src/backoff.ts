const FIRST_WAIT_MS = 50;
const LONGEST_WAIT_MS = 5_000;
const LONGEST_ASKED_MS = 3_600_000;

/** How long to wait after so many tries, as long at least as the broker asked for. */
export function waitMs(tries: number, askedMs = 0): number {
    const longestMs = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(tries, 16));
    // The random half keeps a thousand clients from coming in the same moment.
    return Math.max(longestMs * (0.5 + Math.random() / 2), Math.min(askedMs, LONGEST_ASKED_MS));
}
