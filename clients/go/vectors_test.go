package packhorse

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
)

type part struct {
	Hex   string
	Parts []part
	Times *int
}

func (p part) bytes(t *testing.T) []byte {
	one, err := hex.DecodeString(p.Hex)
	if err != nil {
		t.Fatal(err)
	}
	one = append(one, joined(t, p.Parts)...)
	if p.Times != nil {
		return bytes.Repeat(one, *p.Times)
	}
	return one
}

func joined(t *testing.T, parts []part) (all []byte) {
	for _, p := range parts {
		all = append(all, p.bytes(t)...)
	}
	return all
}

type vector struct {
	Name, From, Frame, State string
	SameAs                   string `json:"same_as"`
	Value                    map[string]any
	Answers                  any
	Body, Stream             []part
	Bodies                   []string
	LimitBytes               int64 `json:"limit_bytes"`
	Error                    any
}

func vectors(t *testing.T, file, key string) []vector {
	data, err := os.ReadFile("../../protocol/vectors/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	var found []vector
	decoder := json.NewDecoder(bytes.NewReader(all[key]))
	decoder.UseNumber()
	if err := decoder.Decode(&found); err != nil {
		t.Fatal(err)
	}
	return found
}

// plain turns a vector's value into what the Go structs read as JSON.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if text, ok := v["$bin"].(string); ok && len(v) == 1 {
			raw, _ := hex.DecodeString(text)
			return base64.StdEncoding.EncodeToString(raw)
		}
		if text, ok := v["$int"].(string); ok && len(v) == 1 {
			return json.Number(text)
		}
		for key, inner := range v {
			v[key] = plain(inner)
		}
	case []any:
		for i, inner := range v {
			v[i] = plain(inner)
		}
	}
	return v
}

func fill(t *testing.T, value any, into any) {
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", data, err)
	}
}

func unhex(t *testing.T, text string) []byte {
	raw, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestClientMessagesAreWrittenByteByByte(t *testing.T) {
	for _, v := range append(vectors(t, "client.json", "vectors"), sentIn(t, "client")...) {
		t.Run(v.Name, func(t *testing.T) {
			value := plain(v.Value).(map[string]any)
			tag := value["t"].(string)
			var got []byte
			if tag == "hello" || tag == "beat" {
				var m encodable = &clientBeatMessage{}
				if tag == "hello" {
					m = &helloMessage{}
				}
				fill(t, value, m)
				var err error
				if got, err = encodeMessage(tag, m); err != nil {
					t.Fatal(err)
				}
			} else {
				made, ok := requestsByTag[tag]
				if !ok {
					t.Skip("no library would send it")
				}
				q := made.request()
				key, _ := q.items()
				if key == "" && value[key] != nil {
					t.Fatal("items without a key")
				}
				id, _ := value["id"].(json.Number).Int64()
				delete(value, "id")
				fill(t, value, q)
				calls, err := split(t.Context(), q, repeat)
				if err != nil {
					t.Fatal(err)
				}
				got = (&lane{key: calls[0].lane}).encode(id, calls)
			}
			if want := unhex(t, v.Frame); !sameValue(t, got, want) {
				t.Errorf("got  %x\nwant %x", got, want)
			}
		})
	}
}

// sameValue compares frames; those with maps of several entries may differ in their order.
func sameValue(t *testing.T, a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	counts := func(raw []byte) (n [256]int) {
		for _, c := range raw {
			n[c]++
		}
		return n
	}
	return len(a) == len(b) && counts(a) == counts(b)
}

func sentIn(t *testing.T, from string) (found []vector) {
	for _, v := range vectors(t, "session.json", "steps") {
		if v.From == from {
			v.Name = "session: " + v.Value["t"].(string)
			found = append(found, v)
		}
	}
	return found
}

// contains tells whether all that is wanted is there; what is there besides are defaults.
func contains(got, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		got, ok := got.(map[string]any)
		for key, value := range want {
			if !ok || !contains(got[key], value) {
				return false
			}
		}
		return ok
	case []any:
		got, ok := got.([]any)
		if !ok || len(got) != len(want) {
			return len(want) == 0 && got == nil
		}
		for i := range want {
			if !contains(got[i], want[i]) {
				return false
			}
		}
		return true
	case json.Number:
		number, _ := want.Int64()
		read, _ := got.(json.Number)
		gotNumber, _ := read.Int64()
		return number == gotNumber
	}
	return got == want || got == nil && (want == "" || want == false)
}

func asJSON(t *testing.T, v any) any {
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var read any
	if err := decoder.Decode(&read); err != nil {
		t.Fatal(err)
	}
	return read
}

func TestBrokerMessagesAreRead(t *testing.T) {
	for _, v := range vectors(t, "broker.json", "vectors") {
		t.Run(v.Name, func(t *testing.T) {
			value := plain(v.Value).(map[string]any)
			body, err := readFrame(bytes.NewReader(unhex(t, v.Frame)), maxFrameBytes)
			if err != nil {
				t.Fatal(err)
			}
			m, err := open(body)
			if err != nil {
				t.Fatal(err)
			}
			if m.tag != value["t"] {
				t.Fatalf("tag %q", m.tag)
			}
			if m.tag != "ok" {
				into := pushesByTag[m.tag]()
				if err := decode(body, into); err != nil {
					t.Fatal(err)
				}
				delete(value, "t")
				if got := asJSON(t, into); !contains(got, value) {
					t.Errorf("got %v, want %v", got, value)
				}
				return
			}
			ok := &okMessage{}
			if err := decode(body, ok); err != nil {
				t.Fatal(err)
			}
			tag, _ := v.Answers.(string)
			for i, want := range value["results"].([]any) {
				problem, err := problemIn(ok.Results[i])
				if err != nil {
					t.Fatal(err)
				}
				var got any
				if problem != nil {
					got, want = asJSON(t, problem), want.(map[string]any)["problem"]
				} else {
					into := requestsByTag[tag].result()
					if err := decode(ok.Results[i], into); err != nil {
						t.Fatal(err)
					}
					got = asJSON(t, into)
				}
				if !contains(got, want) {
					t.Errorf("got %v, want %v", got, want)
				}
			}
		})
	}
}

// readAs reads a broker's body as the client does, with one request for `tag` under way.
func readAs(body []byte, tag string, opened bool) error {
	m, err := open(body)
	if err != nil {
		return err
	}
	if !opened {
		_, err := readWelcome(bufio.NewReader(bytes.NewReader(frame(append(make([]byte, headerBytes), body...)))))
		return err
	}
	switch m.tag {
	case "ok":
		r := newRequests()
		c := &call{done: make(chan answer, 1)}
		r.flights[7] = &flight{lane: &lane{}, calls: []*call{c}}
		ok := &okMessage{}
		if err := decode(body, ok); err != nil {
			return err
		}
		if err := r.answered(ok); err != nil {
			return err
		}
		a := <-c.done
		if a.err != nil {
			return a.err
		}
		return decode(a.entry, requestsByTag[tag].result())
	case "error":
		refused := &refusedMessage{}
		if err := decode(body, refused); err != nil {
			return err
		}
		return newRequests().refused(refused.ID, refused.refusal())
	case "welcome":
		return (&session{}).received(nil, m, body)
	}
	if into := pushesByTag[m.tag]; into != nil {
		return decode(body, into())
	}
	return &ProtocolError{Code: CodeUnsupported, Field: "t"}
}

func TestMalformedMessagesAreRefused(t *testing.T) {
	tried := 0
	for _, v := range vectors(t, "malformed.json", "vectors") {
		if v.From != "broker" && !strings.HasPrefix(v.Name, "msgpack:") {
			continue
		}
		tried++
		t.Run(v.Name, func(t *testing.T) {
			tag, _ := v.Answers.(string)
			err := readAs(joined(t, v.Body), tag, v.State == "" || v.State == "OPEN")
			var protocol *ProtocolError
			var refusal *Refusal
			if !errors.As(err, &protocol) && !errors.As(err, &refusal) {
				t.Errorf("it was read: %v", err)
			}
		})
	}
	if tried < 40 {
		t.Errorf("only %d vectors", tried)
	}
}

func TestOtherwiseWrittenMessagesAreRead(t *testing.T) {
	for _, v := range vectors(t, "accepted.json", "vectors") {
		if v.From != "broker" {
			continue
		}
		t.Run(v.Name, func(t *testing.T) {
			tag, _ := v.Answers.(string)
			read := func(frame string) (all []any) {
				m := &okMessage{}
				if err := decode(unhex(t, frame)[headerBytes:], m); err != nil {
					t.Fatal(err)
				}
				for _, entry := range m.Results {
					if problem, err := problemIn(entry); problem != nil || err != nil {
						all = append(all, asJSON(t, problem))
						continue
					}
					into := requestsByTag[tag].result()
					if err := decode(entry, into); err != nil {
						t.Fatal(err)
					}
					all = append(all, asJSON(t, into))
				}
				return all
			}
			if got, want := asJSON(t, read(v.Frame)), asJSON(t, read(v.SameAs)); !contains(got, want) || !contains(want, got) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

func TestFramesAreCut(t *testing.T) {
	for _, v := range vectors(t, "framing.json", "vectors") {
		stream := joined(t, v.Stream)
		readers := map[string]io.Reader{
			"whole": bytes.NewReader(stream), "byte by byte": iotest.OneByteReader(bytes.NewReader(stream)),
		}
		for how, r := range readers {
			t.Run(v.Name+", "+how, func(t *testing.T) {
				var bodies []string
				body, err := readFrame(r, v.LimitBytes)
				for ; err == nil; body, err = readFrame(r, v.LimitBytes) {
					bodies = append(bodies, hex.EncodeToString(body))
				}
				if strings.Join(bodies, " ") != strings.Join(v.Bodies, " ") {
					t.Errorf("got %v, want %v", bodies, v.Bodies)
				}
				code := ""
				var protocol *ProtocolError
				if errors.As(err, &protocol) {
					code = string(protocol.Code)
				}
				if want, _ := v.Error.(string); code != want {
					t.Errorf("ended with %v, want %q", err, want)
				}
			})
		}
	}
}
