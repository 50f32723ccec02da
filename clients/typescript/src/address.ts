import * as net from "node:net";
import * as tls from "node:tls";

import { Invalid } from "./errors.js";

const DEFAULT_PORT = 7225;

/** Where a broker listens. */
export type Address =
    | { readonly path: string }
    | { readonly host: string; readonly port: number; readonly encrypted: boolean };

/** Opens a stream; its `connect` (`secureConnect`) is still to come. */
export function dial(address: Address, options: tls.ConnectionOptions = {}): net.Socket {
    if ("path" in address) return net.connect({ path: address.path });
    const { host, port, encrypted } = address;
    if (!encrypted) return net.connect({ host, port, noDelay: true });
    const servername = net.isIP(host) ? undefined : host;
    const socket = tls.connect({ servername, ...options, host, port });
    socket.setNoDelay(true);
    return socket;
}

/** `tcp://host:port`, `tls://` for TLS, `unix:///path`; several with
 * commas between them. Without one: `PACKHORSE_URL`, else 127.0.0.1:7225. */
export function addresses(url?: string): Address[] {
    const given = url ?? (process.env["PACKHORSE_URL"] || `tcp://127.0.0.1:${DEFAULT_PORT}`);
    return given.split(",").map((part) => parse(part.trim()));
}

/** As it is written. */
export function named(address: Address): string {
    if ("path" in address) return `unix://${address.path}`;
    const { host, port, encrypted } = address;
    return `${encrypted ? "tls" : "tcp"}://${net.isIPv6(host) ? `[${host}]` : host}:${port}`;
}

function parse(url: string): Address {
    const wrong = (why: string) => new Invalid(`${JSON.stringify(url)} is no address: ${why}`);
    const [, scheme = "tcp", rest = ""] = /^(?:([a-z]+):\/\/)?(.*)$/s.exec(url) ?? [];
    if (scheme === "unix") {
        if (!rest.startsWith("/")) throw wrong("the path must be absolute");
        return { path: rest };
    }
    if (!["tcp", "tls"].includes(scheme)) throw wrong(`unknown scheme ${scheme}`);
    const place = /^(?:\[([^\]]+)\]|([^:/?#@\s[\]]+))(?::(\d{1,5}))?\/?$/.exec(rest);
    if (!place) throw wrong("it must be host:port, or [address]:port for IPv6");
    const port = Number(place[3] ?? DEFAULT_PORT);
    if (port < 1 || port > 65_535) throw wrong("the port must be 1 to 65535");
    return { host: (place[1] ?? place[2])!, port, encrypted: scheme === "tls" };
}
