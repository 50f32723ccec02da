/** A promise that is settled from outside. */
export class Deferred<T> {
    resolve!: (value: T) => void;
    readonly promise = new Promise<T>((resolve) => (this.resolve = resolve));
}
