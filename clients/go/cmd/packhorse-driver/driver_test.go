package main

import (
	"bufio"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// startBroker starts a broker of its own, and tells where it listens.
func startBroker(t *testing.T) string {
	program := os.Getenv("PACKHORSE_BIN")
	if program == "" {
		program = "../../../../.venv/bin/packhorse"
	}
	// The shell stops the broker when its input ends: also where the tests were killed.
	command := exec.Command("sh", "-c", `unset PACKHORSE_BIN; "$0" "$@" & cat; kill $!; wait`, program, "serve",
		"--listen", "tcp://127.0.0.1:0", "--data-dir", filepath.Join(t.TempDir(), "data"), "--log-level", "error")
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatalf("no broker: %v (make venv, or name one by PACKHORSE_BIN)", err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = command.Wait()
	})
	url := ""
	for lines := bufio.NewScanner(out); lines.Scan() && !strings.HasPrefix(lines.Text(), "ready"); {
		if _, at, found := strings.Cut(lines.Text(), "tcp://"); found {
			url = "tcp://" + strings.TrimSpace(at)
		}
	}
	return url
}

// told is a driver that runs.
type told struct {
	t     *testing.T
	in    *json.Encoder
	close func()
	ended chan error
	lines *bufio.Scanner
	kept  []object
}

func startDriver(t *testing.T) *told {
	program := filepath.Join(t.TempDir(), "driver")
	if out, err := exec.Command("go", "build", "-race", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	command := exec.Command(program)
	command.Stderr = os.Stderr
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(time.Minute, func() { _ = command.Process.Kill() })
	t.Cleanup(func() { timer.Stop(); _ = command.Process.Kill() })
	d := &told{t: t, in: json.NewEncoder(in), lines: bufio.NewScanner(out), ended: make(chan error, 1)}
	d.close = func() {
		_ = in.Close()
		for d.lines.Scan() {
		}
		d.ended <- command.Wait()
	}
	return d
}

func (d *told) tell(line object) {
	d.t.Helper()
	if err := d.in.Encode(line); err != nil {
		d.t.Fatal(err)
	}
}

// expect waits for a line, and keeps the others for later.
func (d *told) expect(key string, value any) object {
	d.t.Helper()
	for i, line := range d.kept {
		if line[key] == value {
			d.kept = append(d.kept[:i], d.kept[i+1:]...)
			return line
		}
	}
	for d.lines.Scan() {
		var line object
		if err := json.Unmarshal(d.lines.Bytes(), &line); err != nil {
			d.t.Fatal(err)
		}
		if line[key] == value {
			return line
		}
		d.kept = append(d.kept, line)
	}
	d.t.Fatalf("the driver ended before %s %v; kept: %v", key, value, d.kept)
	return nil
}

func (d *told) do(id int, line object) object {
	d.t.Helper()
	line["id"] = id
	d.tell(line)
	answer := d.expect("id", float64(id))
	if ok, found := answer["ok"].(object); found {
		return ok
	}
	d.t.Fatalf("%v: %v", line, answer)
	return nil
}

func TestTheDriverDoesWhatItIsTold(t *testing.T) {
	url := startBroker(t)
	d := startDriver(t)
	if ok := d.do(1, object{"do": "connect", "url": url}); ok["resumed"] != false || ok["secret"] == "" {
		t.Error(ok)
	}
	types := object{"echo": 2, "report": 1, "fail": 1, "hold": 1}
	how := object{"echo": "echo", "report": "report", "fail": "fail_for_good", "hold": "hold"}
	d.do(2, object{"do": "run", "types": types, "credit": 5, "how": how})
	create := func(id int, kind string) string {
		ok := d.do(id, object{"do": "create", "handle": true, "jobs": []object{{"type": kind, "payload": "AP8=", "attempts": 3, "persistent": true}}})
		return ok["jobs"].([]any)[0].(object)["job"].(string)
	}
	echoed := create(3, "echo")
	if o := d.do(4, object{"do": "wait", "job": echoed}); o["result"] != "AP8=" || o["state"] != "COMPLETE" {
		t.Error(o)
	}
	if event := d.expect("how", "complete"); event["job"] != echoed {
		t.Error(event)
	}
	reported := create(5, "report")
	d.do(6, object{"do": "wait", "job": reported})
	if ok := d.do(7, object{"do": "logs", "job": reported}); len(ok["entries"].([]any)) != 5 {
		t.Error(ok)
	}
	failed := create(8, "fail")
	if o := d.do(9, object{"do": "wait", "job": failed}); o["error"].(object)["type"] != "DriverError" || o["attempt"] != 1.0 {
		t.Error(o)
	}
	held := create(10, "hold")
	for d.expect("event", "running")["job"] != held {
	}
	d.do(11, object{"do": "watch", "jobs": []string{held}})
	d.do(12, object{"do": "cancel", "job": held, "why": "enough"})
	if o := d.do(13, object{"do": "wait", "job": held}); o["reason"] != "CANCELLED" {
		t.Error(o)
	}
	d.expect("how", "cancelled")
	d.expect("event", "news")
	if ok := d.do(14, object{"do": "get", "jobs": []string{held, "none"}}); ok["jobs"].([]any)[1].(object)["problem"] == nil {
		t.Error(ok)
	}
	d.do(15, object{"do": "handle_outcomes"})
	create(16, "echo")
	d.expect("event", "outcome")
	if ok := d.do(17, object{"do": "request", "message": object{"t": "info"}}); ok["results"].([]any)[0].(object)["clients"] != 1.0 {
		t.Error(ok)
	}
	d.tell(object{"id": 18, "do": "dance"})
	if answer := d.expect("id", 18.0); answer["error"].(object)["code"] != "unsupported" {
		t.Error(answer)
	}
	d.do(19, object{"do": "drain"})
	d.do(20, object{"do": "close"})
	d.tell(object{"id": 21, "do": "get", "jobs": []string{held}})
	if answer := d.expect("id", 21.0); answer["error"].(object)["code"] != "closed" {
		t.Error(answer)
	}
	d.close()
	if err := <-d.ended; err != nil {
		t.Error(err)
	}
}

func TestTheDriverTellsWhyItCannotConnect(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	d := startDriver(t)
	d.tell(object{"id": 1, "do": "connect", "url": l.Addr().String()})
	if answer := d.expect("id", 1.0); answer["error"].(object)["code"] != "disconnected" {
		t.Error(answer)
	}
	d.close()
	if err := <-d.ended; err != nil {
		t.Error(err)
	}
}
