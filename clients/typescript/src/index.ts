/** Packhorse: create jobs, run them, and learn how they ended. */
export {
    Client,
    type ClientEvents,
    connect,
    type CreatedJob,
    type CreateOptions,
    type JobToCreate,
} from "./client.js";
export { type Entry, isProblem } from "./checking.js";
export {
    Closed,
    Disconnected,
    Fail,
    Invalid,
    PackhorseError,
    Refused,
    Stopped,
    TimedOut,
} from "./errors.js";
export type * from "./messages.js";
export type { OutcomeFunction } from "./outcomes.js";
export type { Ending, JobFunction, Result, RunningJob } from "./run.js";
export type { Runner, RunnerOptions, TypeTerms } from "./runner.js";
export type { SessionOptions } from "./session.js";
export type { WatchFunction } from "./watches.js";
