export const token = (of: number) => new Uint8Array(16).fill(of);
export const claim = (of: number, changes: object = {}) => {
    return { job: `job-${of}`, token: token(of), fence: 1, type: "a", attempt: 1, ...changes };
};

export const outcome = (job: string, changes: object = {}) => {
    return {
        job,
        type: "a",
        state: "COMPLETE",
        version: 3,
        result: new Uint8Array([1]),
        created_at: 5,
        ...changes,
    };
};
