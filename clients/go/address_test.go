package packhorse

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"testing"
	"time"
)

func TestTheNextAddressIsTried(t *testing.T) {
	s := newScript(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close() // nobody listens there any more
	made := connecting(t, "tcp://"+l.Addr().String()+", "+s.url, nil)
	s.welcome(nil)
	(<-made).cancel(ErrClosed)
}

func TestTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	server := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{raw}, PrivateKey: key}}}
	l, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	s := scriptOn(t, l, "tls://"+l.Addr().String())
	made := connecting(t, s.url, &Options{TLS: &tls.Config{RootCAs: roots}})
	p := s.welcome(nil)
	c := <-made
	defer c.cancel(ErrClosed)
	done := creating(t, c, NewJob{Type: "x"})
	p.ok(p.expect("create"), values{"job": "1", "state": "QUEUED"})
	if got := <-done; got.err != nil {
		t.Error(got.err)
	}
	// A certificate that nobody vouches for is refused.
	go func() {
		if conn, err := l.Accept(); err == nil {
			_ = conn.(*tls.Conn).Handshake()
			conn.Close()
		}
	}()
	if _, err := Connect(soon(t), s.url, nil); err == nil {
		t.Error("it connected")
	}
}

func TestAddresses(t *testing.T) {
	for url, want := range map[string]address{
		"tcp://h":            {network: "tcp", at: "h:7225"},
		"h:1":                {network: "tcp", at: "h:1"},
		"tcp://h:1/":         {network: "tcp", at: "h:1"},
		"tls://[::1]":        {network: "tcp", at: "[::1]:7225", tls: true},
		"tcp://[::1]:99":     {network: "tcp", at: "[::1]:99"},
		"unix:///run/a.sock": {network: "unix", at: "/run/a.sock"},
		"unix://run/a.sock":  {},
		"http://h":           {},
		"tcp://h:0":          {},
		"tcp://::1":          {},
		"tcp://":             {},
		"tcp://h:1?x=y":      {},
		"tcp://user@h:1":     {},
		"tcp://h:70000":      {},
	} {
		got, err := parseAddress(url)
		if got != want || (err == nil) != (want != address{}) {
			t.Errorf("%s: %v, %v", url, got, err)
		}
	}
}
