package packhorse

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"strconv"
	"strings"
)

// address is one place where a broker listens.
type address struct {
	network, at string
	tls         bool
}

// parseAddresses reads one or several addresses with commas between them: url, else PACKHORSE_URL,
// else the default port of this machine.
func parseAddresses(url string) ([]address, error) {
	if url == "" {
		url = os.Getenv("PACKHORSE_URL")
	}
	if url == "" {
		url = "127.0.0.1"
	}
	var found []address
	for _, one := range strings.Split(url, ",") {
		a, err := parseAddress(strings.TrimSpace(one))
		if err != nil {
			return nil, err
		}
		found = append(found, a)
	}
	return found, nil
}

func parseAddress(url string) (address, error) {
	invalid := &InvalidError{Field: "url", Why: strconv.Quote(url) +
		" is no address: tcp://host:port, tls://host:port or unix:///path"}
	scheme, rest, found := strings.Cut(url, "://")
	if !found {
		scheme, rest = "tcp", url
	}
	switch scheme {
	case "unix":
		if !strings.HasPrefix(rest, "/") {
			return address{}, invalid
		}
		return address{network: "unix", at: rest}, nil
	case "tcp", "tls":
	default:
		return address{}, invalid
	}
	rest = strings.TrimSuffix(rest, "/")
	if strings.HasSuffix(rest, "]") || !strings.Contains(rest, ":") {
		rest += ":" + strconv.Itoa(defaultPort)
	}
	host, port, err := net.SplitHostPort(rest)
	if err != nil || host == "" || strings.ContainsAny(host, "/?#@ ") {
		return address{}, invalid
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return address{}, invalid
	}
	return address{network: "tcp", at: net.JoinHostPort(host, port), tls: scheme == "tls"}, nil
}

// dial connects; of TCP, Go sets TCP_NODELAY by itself.
func (a address) dial(ctx context.Context, config *tls.Config) (net.Conn, error) {
	if a.tls {
		return (&tls.Dialer{Config: config}).DialContext(ctx, a.network, a.at)
	}
	return (&net.Dialer{}).DialContext(ctx, a.network, a.at)
}
