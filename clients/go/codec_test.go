package packhorse

import (
	"bytes"
	"math"
	"strings"
	"testing"
)

func TestNumbersAndLengthsOfAllSizes(t *testing.T) {
	for _, bits := range []int{5, 7, 8, 15, 16, 31, 32, 63} {
		edge := int64(math.MaxInt64)
		if bits < 63 {
			edge = 1<<bits - 1
		}
		for _, n := range []int64{edge, edge - 1, -edge, -edge - 1} {
			if got := again(n); got != n {
				t.Errorf("%d became %v", n, got)
			}
		}
	}
	for _, length := range []int{0, 31, 32, 255, 256, 65535, 65536, 131072} {
		text := strings.Repeat("x", length)
		if got := again(text); got != text {
			t.Errorf("a text of %d bytes", length)
		}
		if got := again([]byte(text)).([]byte); string(got) != text {
			t.Errorf("%d bytes", length)
		}
		if length <= maxArrayItems {
			if got := again(make([]any, length)).([]any); len(got) != length {
				t.Errorf("an array of %d", length)
			}
		}
	}
}

func again(v any) any {
	e := &encoder{}
	put(e, v)
	d := &decoder{buf: e.buf}
	if got := value(d); d.err == nil && d.at == len(e.buf) {
		return got
	}
	return d.err
}

func TestAnErrorIsMadeToFit(t *testing.T) {
	job := &Job{Claim: Claim{Job: "j", Token: make([]byte, tokenBytes)}}
	err := &Error{Type: "a\xffb", Message: strings.Repeat("é", 2000), Traceback: strings.Repeat("x", 40000)}
	e := &encoder{}
	failure := job.failure(NoRetry(err))
	failure.encode(e)
	if e.err != nil || *failure.Retry || failure.Error.Type != "a\uFFFDb" {
		t.Error(e.err, failure.Error.Type)
	}
}

func TestWhatIsOutOfBoundsIsNotSent(t *testing.T) {
	for name, job := range map[string]NewJob{
		"attempts": {Type: "x", Attempts: 1001},
		"priority": {Type: "x", Priority: -1001},
		"labels":   {Type: "x", Labels: make([]string, 17)},
		"key":      {Type: "x", Key: "\x00"},
		"type":     {Type: strings.Repeat("é", 129)},
		"scope":    {Type: "x", Unique: &Unique{Key: "k", Scope: "for ever"}},
		"headers":  {Type: "x", Headers: map[string]string{"h": strings.Repeat("x", 1025)}},
		"delay_ms": {Type: "x", DelayMs: -1},
	} {
		_, err := split(t.Context(), &Create{Jobs: []NewJob{job}}, repeat)
		if invalid, ok := err.(*InvalidError); !ok || invalid.Field != name && name != "labels" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnyDepthIsSurvived(t *testing.T) {
	deep := append(append([]byte{0x82, 0xa1, 't', 0xa1, 'x', 0xa1, 'y'}, bytes.Repeat([]byte{0x91}, 1_000_000)...), 0xc0)
	if _, err := open(deep); err == nil {
		t.Error("a million arrays in each other were read")
	}
	sixteen := append(append([]byte{0x82, 0xa1, 't', 0xa1, 'x', 0xa1, 'y'}, bytes.Repeat([]byte{0x91}, 15)...), 0xc0)
	if _, err := open(sixteen); err != nil {
		t.Error(err)
	}
}

func FuzzBodies(f *testing.F) {
	f.Add([]byte{0x81, 0xa1, 't', 0xa2, 'o', 'k'})
	f.Fuzz(func(t *testing.T, body []byte) {
		for tag := range requestsByTag {
			_ = readAs(body, tag, true)
		}
	})
}
