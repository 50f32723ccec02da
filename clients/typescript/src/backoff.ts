const FIRST_WAIT_MS = 50;
export const LONGEST_WAIT_MS = 5_000;

/** How long to wait after so many tries. The random half keeps a thousand clients apart. */
export function growingMs(tries: number): number {
    const longestMs = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(tries, 16));
    return longestMs * (0.5 + Math.random() / 2);
}
