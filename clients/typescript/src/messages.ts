// Generated from protocol/schema.json by generate.mjs: do not edit.

export interface Created {
    job: string;
    state: "PENDING" | "QUEUED" | "STARTED" | "COMPLETE" | "FAILED";
    existed: boolean;
    duplicate?: "joined" | "replaced";
}

export interface JobView {
    id: string;
    type: string;
    state: "PENDING" | "QUEUED" | "STARTED" | "COMPLETE" | "FAILED";
    version: number;
    payload: Uint8Array;
    key?: string;
    headers?: Record<string, string>;
    attempts: number;
    current_attempt: number;
    persistent: boolean;
    runner?: string;
    handlers: string[];
    created_by?: string;
    created_at: number;
    queued_at: number;
    started_at: number;
    finished_at: number;
    failed: number;
    lost: number;
    released: number;
    progress?: Progress;
    log_end: number;
    reason?: "FAILED" | "RUNNER_TIMEOUT" | "JOB_TIMEOUT" | "CANCELLED";
    result?: Uint8Array;
    error?: JobError;
    delayed_until: number;
    next_attempt: number;
    priority: number;
    backoff?: Backoff;
    timeouts?: Timeouts;
    lost_limit?: number;
    labels: string[];
    unique?: Unique;
    keep_ms?: number;
    timed_out: number;
    expired?: "idle" | "run" | "total";
    cancel?: CancelRequest;
    groups: string[];
    deadline: number;
    expires_at: number;
    log_first: number;
    retried: number;
    durability?: "disk" | "replicated";
}

export interface Progress {
    percent: number;
    text: string;
}

export interface JobError {
    type: string;
    message: string;
    traceback: string;
}

export interface Backoff {
    type: "fixed" | "linear" | "exponential" | "list";
    delay_ms: number;
    factor_percent: number;
    delays_ms: number[];
    max_ms?: number;
    jitter: "none" | "full" | "equal" | "share";
    jitter_percent: number;
}

export interface Timeouts {
    idle_ms?: number;
    run_ms?: number;
    total_ms?: number;
}

export interface Unique {
    key: string;
    scope: "until_started" | "until_finished" | "window";
    window_ms?: number;
    on_duplicate: "reject" | "join" | "replace";
}

export interface CancelRequest {
    by: string;
    at: number;
    until: number;
    why: string;
}

export type Done = Record<string, never>;

export interface Claim {
    job: string;
    token: Uint8Array;
    fence: number;
    type: string;
    attempt: number;
    attempts: number;
    payload: Uint8Array;
    key?: string;
    headers?: Record<string, string>;
    remaining_ms?: number;
}

export interface Ended {
    state: "PENDING" | "QUEUED" | "STARTED" | "COMPLETE" | "FAILED";
}

export interface Extended {
    remaining_ms?: number;
}

export interface JobPage {
    jobs: JobSummary[];
    cursor?: Uint8Array;
}

export interface JobSummary {
    id: string;
    type: string;
    state: "PENDING" | "QUEUED" | "STARTED" | "COMPLETE" | "FAILED";
    key?: string;
    unique_key?: string;
    labels: string[];
    priority: number;
    attempts: number;
    current_attempt: number;
    runner?: string;
    reason?: "FAILED" | "RUNNER_TIMEOUT" | "JOB_TIMEOUT" | "CANCELLED";
    progress?: Progress;
    created_at: number;
    delayed_until: number;
    queued_at: number;
    started_at: number;
    finished_at: number;
}

export interface AttemptList {
    attempts: Attempt[];
    dropped: number;
}

export interface Attempt {
    attempt: number;
    runner: string;
    started_at: number;
    finished_at: number;
    ended: "completed" | "failed" | "lost" | "released" | "timed_out" | "cancelled";
    expired?: "idle" | "run" | "total";
    error?: JobError;
    next_at: number;
}

export interface Why {
    state: "PENDING" | "QUEUED" | "STARTED" | "COMPLETE" | "FAILED";
    causes: Cause[];
}

export interface Cause {
    code: "delayed" | "retry_wait" | "behind" | "paused" | "no_runner" | "no_room" | "running" | "runner_silent" | "cancelling" | "finished" | "next";
    message: string;
    until: number;
    since: number;
    jobs: number;
    client?: string;
}

export interface TypeList {
    types: TypeView[];
    more: boolean;
}

export interface TypeView {
    type: string;
    counts: Partial<Record<"PENDING" | "QUEUED" | "STARTED" | "COMPLETE" | "FAILED", number>>;
    latency_ms: number;
    jobs_bytes: number;
    runners: number;
    paused: boolean;
    paused_until: number;
    draining: boolean;
    keep_complete?: Retention;
    keep_failed?: Retention;
    max_jobs: number;
    max_bytes: number;
    has_schema: boolean;
    changed_at: number;
    by?: string;
    why: string;
}

export interface Retention {
    keep_ms?: number;
    keep_jobs?: number;
}

export interface SchemaView {
    schema: Uint8Array;
    by?: string;
    at: number;
}

export interface MinuteList {
    minutes: Minute[];
}

export interface Minute {
    at: number;
    created: number;
    started: number;
    completed: number;
    failed: number;
    retried: number;
    lost: number;
    timed_out: number;
    cancelled: number;
    released: number;
    removed: number;
    wait_ms: number;
    run_ms: number;
}

export interface ActionList {
    actions: Action[];
    cursor?: Uint8Array;
}

export interface Action {
    at: number;
    action: string;
    by: string;
    why: string;
    job?: string;
    type?: string;
}

export interface LogPage {
    entries: LogEntry[];
    first: number;
    end: number;
    dropped_bytes: number;
}

export interface LogEntry {
    offset: number;
    time_ms: number;
    attempt: number;
    type: "log" | "progress" | "action";
    message: string;
    percent?: number;
    by?: string;
}

export interface Watched {
    state: "PENDING" | "QUEUED" | "STARTED" | "COMPLETE" | "FAILED";
    version: number;
    progress?: Progress;
    log_first: number;
    log_end: number;
}

export interface Counts {
    types: Record<string, Partial<Record<"PENDING" | "QUEUED" | "STARTED" | "COMPLETE" | "FAILED", number>>>;
    more: boolean;
}

export interface BrokerInfo {
    broker: string;
    library: string;
    store: string;
    schema: number;
    started_ms: number;
    now_ms: number;
    connections: number;
    clients: number;
    kept: string;
    durability: string;
    replicas: number;
    store_full: boolean;
    commits: number;
    conflicts: number;
    partitions: number;
}

export interface Welcome {
    version: number;
    client: string;
    secret: Uint8Array;
    resumed: boolean;
    roles: ("create" | "run" | "handle" | "read" | "admin")[];
    heartbeat_ms: number;
    timeout_ms: number;
    limits: Limits;
    features: string[];
    broker: string;
    store: string;
    now_ms: number;
    library: string;
    kept: string;
    durability: string;
    replicas: number;
    registered_at: number;
}

export interface Limits {
    frame_bytes: number;
    payload_bytes: number;
    result_bytes: number;
    log_message_bytes: number;
    batch: number;
    in_flight: number;
}

export type BrokerBeat = Record<string, never>;

export interface Refused {
    code: string;
    message: string;
    id?: number;
    retryable: boolean;
    retry_after_ms?: number;
    details?: Record<string, string>;
    closing: boolean;
}

export interface Claims {
    claims: Claim[];
}

export interface Outcomes {
    outcomes: Outcome[];
}

export interface Outcome {
    job: string;
    type: string;
    state: "COMPLETE" | "FAILED";
    version: number;
    reason?: "FAILED" | "RUNNER_TIMEOUT" | "JOB_TIMEOUT" | "CANCELLED";
    result?: Uint8Array;
    error?: JobError;
    key?: string;
    attempt: number;
    created_at: number;
    started_at: number;
    finished_at: number;
    expired?: "idle" | "run" | "total";
    group?: string;
}

export interface Revoke {
    claims: Revocation[];
}

export interface Revocation {
    job: string;
    token: Uint8Array;
    reason: "removed" | "taken_back" | "timeout" | "cancelled";
}

export interface Cancelling {
    claims: Cancellation[];
}

export interface Cancellation {
    job: string;
    token: Uint8Array;
    grace_ms: number;
    why: string;
}

export interface Events {
    events: JobEvent[];
}

export interface JobEvent {
    job: string;
    version: number;
    state?: "PENDING" | "QUEUED" | "STARTED" | "COMPLETE" | "FAILED";
    progress?: Progress;
    log: LogEntry[];
    removed: boolean;
}

export interface Drain {
    grace_ms: number;
}

export interface Problem {
    code: string;
    message: string;
    retryable: boolean;
    retry_after_ms?: number;
    details?: Record<string, string>;
}

export interface Hello {
    versions: number[];
    client?: string;
    secret?: Uint8Array;
    roles?: ("create" | "run" | "handle" | "read" | "admin")[];
    timeout_ms?: number;
    library?: string;
}

export interface Create {
    jobs: NewJob[];
    handle?: boolean;
    group?: string;
}

export interface NewJob {
    type: string;
    payload?: Uint8Array;
    id?: string;
    key?: string;
    headers?: Record<string, string>;
    attempts?: number;
    persistent?: boolean;
    delay_ms?: number;
    delay_until?: number;
    priority?: number;
    backoff?: NewBackoff;
    timeouts?: NewTimeouts;
    lost_limit?: number;
    labels?: string[];
    unique?: NewUnique;
    keep_ms?: number;
    durability?: "disk" | "replicated";
}

export interface NewBackoff {
    type: "fixed" | "linear" | "exponential" | "list";
    delay_ms?: number;
    factor_percent?: number;
    delays_ms?: number[];
    max_ms?: number;
    jitter?: "none" | "full" | "equal" | "share";
    jitter_percent?: number;
}

export interface NewTimeouts {
    idle_ms?: number;
    run_ms?: number;
    total_ms?: number;
}

export interface NewUnique {
    key: string;
    scope?: "until_started" | "until_finished" | "window";
    window_ms?: number;
    on_duplicate?: "reject" | "join" | "replace";
}

export interface Get {
    jobs: string[];
}

export interface Take {
    types: Record<string, number>;
    credit: number;
    weights?: Record<string, number>;
}

export interface ClaimJobs {
    jobs: string[];
}

export interface Release {
    claims: ClaimRef[];
}

export interface ClaimRef {
    job: string;
    token: Uint8Array;
}

export interface Extend {
    claims: Extension[];
}

export interface Extension {
    job: string;
    token: Uint8Array;
    run_ms: number;
}

export interface ReportProgress {
    reports: ProgressReport[];
}

export interface ProgressReport {
    job: string;
    token: Uint8Array;
    percent: number;
    text?: string;
}

export interface WriteLog {
    reports: LogReport[];
}

export interface LogReport {
    job: string;
    token: Uint8Array;
    messages: string[];
}

export interface Complete {
    jobs: Completion[];
}

export interface Completion {
    job: string;
    token: Uint8Array;
    result?: Uint8Array;
}

export interface Fail {
    jobs: Failure[];
}

export interface Failure {
    job: string;
    token: Uint8Array;
    error: NewJobError;
    retry?: boolean;
    retry_in_ms?: number;
}

export interface NewJobError {
    type?: string;
    message?: string;
    traceback?: string;
}

export interface Handle {
    jobs: string[];
    group?: string;
}

export interface Handled {
    jobs: string[];
    group?: string;
}

export interface Join {
    groups: string[];
}

export interface Cancel {
    jobs: string[];
    grace_ms?: number;
    why?: string;
}

export interface Retry {
    jobs: string[];
    attempts?: number;
    why?: string;
}

export interface RunNow {
    jobs: string[];
    why?: string;
}

export interface Remove {
    jobs: string[];
    states?: ("PENDING" | "QUEUED" | "STARTED" | "COMPLETE" | "FAILED")[];
    why?: string;
}

export interface ListJobs {
    type?: string;
    states?: ("PENDING" | "QUEUED" | "STARTED" | "COMPLETE" | "FAILED")[];
    label?: string;
    unique_key?: string;
    since?: number;
    until?: number;
    newest_first?: boolean;
    cursor?: Uint8Array;
    limit?: number;
}

export interface ListAttempts {
    jobs: string[];
}

export interface AskWhy {
    jobs: string[];
}

export interface ListTypes {
    types?: string[];
    after?: string;
    limit?: number;
}

export interface Configure {
    types: TypeChange[];
    why?: string;
}

export interface TypeChange {
    type: string;
    paused?: boolean;
    paused_until?: number;
    draining?: boolean;
    keep_complete?: NewRetention;
    keep_failed?: NewRetention;
    max_jobs?: number;
    max_bytes?: number;
}

export interface NewRetention {
    keep_ms?: number;
    keep_jobs?: number;
}

export interface Publish {
    schemas: TypeSchema[];
}

export interface TypeSchema {
    type: string;
    schema: Uint8Array;
}

export interface GetSchema {
    types: string[];
}

export interface CountMinutes {
    type: string;
    since?: number;
}

export interface ListActions {
    before?: number;
    limit?: number;
    cursor?: Uint8Array;
}

export interface ReadLog {
    job: string;
    offset?: number;
    limit?: number;
}

export interface Watch {
    jobs: string[];
}

export interface Unwatch {
    jobs: string[];
}

export interface CountJobs {
    types?: string[];
}

export type Info = Record<string, never>;

export type Bye = Record<string, never>;

/** Each request's fields, and what an entry of its results holds. */
export interface Requests {
    create: { fields: Create; result: Created };
    get: { fields: Get; result: JobView };
    take: { fields: Take; result: Done };
    claim: { fields: ClaimJobs; result: Claim };
    release: { fields: Release; result: Ended };
    extend: { fields: Extend; result: Extended };
    progress: { fields: ReportProgress; result: Done };
    log: { fields: WriteLog; result: Done };
    complete: { fields: Complete; result: Ended };
    fail: { fields: Fail; result: Ended };
    handle: { fields: Handle; result: Ended };
    handled: { fields: Handled; result: Done };
    join: { fields: Join; result: Done };
    cancel: { fields: Cancel; result: Ended };
    retry: { fields: Retry; result: Ended };
    run_now: { fields: RunNow; result: Ended };
    remove: { fields: Remove; result: Done };
    list: { fields: ListJobs; result: JobPage };
    attempts: { fields: ListAttempts; result: AttemptList };
    why: { fields: AskWhy; result: Why };
    types: { fields: ListTypes; result: TypeList };
    configure: { fields: Configure; result: Done };
    publish: { fields: Publish; result: Done };
    schema: { fields: GetSchema; result: SchemaView };
    minutes: { fields: CountMinutes; result: MinuteList };
    actions: { fields: ListActions; result: ActionList };
    logs: { fields: ReadLog; result: LogPage };
    watch: { fields: Watch; result: Watched };
    unwatch: { fields: Unwatch; result: Done };
    counts: { fields: CountJobs; result: Counts };
    info: { fields: Info; result: BrokerInfo };
    bye: { fields: Bye; result: Done };
}
