package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
)

type schema struct {
	Limits         map[string]int64
	Codes          []struct{ Code string }
	ClientMessages map[string]*message `json:"client_messages"`
	BrokerMessages map[string]*message `json:"broker_messages"`
	Records        map[string]struct{ Fields []field }
	names          []string // of the records, in the schema's order
}

type message struct {
	tag, Record, Results, Items string
}

// field is a record's field, or what is within an array or a map.
type field struct {
	Name     string
	Required bool
	Default  any
	Type     string
	Min, Max int64
	Record   string
	Items    *field
	Keys     *field
	Values   json.RawMessage // a choice's texts, or a map's values
}

func readSchema(path string) (*schema, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s := &schema{}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, err
	}
	for tag, m := range s.ClientMessages {
		m.tag = tag
	}
	for tag, m := range s.BrokerMessages {
		m.tag = tag
	}
	// The broker's `ok` has no record: its results depend on the request.
	delete(s.BrokerMessages, "ok")
	s.names, err = keysInOrder(data, "records")
	return s, err
}

// keysInOrder tells the keys of the object under key as they stand in the document.
func keysInOrder(data []byte, key string) ([]string, error) {
	var top map[string]json.RawMessage
	if err := json.Unmarshal(data, &top); err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(top[key]))
	if _, err := decoder.Token(); err != nil {
		return nil, err
	}
	var keys []string
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		keys = append(keys, fmt.Sprint(name))
		var skipped json.RawMessage
		if err := decoder.Decode(&skipped); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// fields tells a record's fields but for a request's id, which the client library chooses.
func (s *schema) fields(record string) []field {
	for _, m := range s.ClientMessages {
		if m.Record == record && m.Results != "" {
			return slices.DeleteFunc(slices.Clone(s.Records[record].Fields), func(f field) bool { return f.Name == "id" })
		}
	}
	return s.Records[record].Fields
}

func (f *field) choices() []string {
	var texts []string
	if err := json.Unmarshal(f.Values, &texts); err != nil {
		panic(err)
	}
	return texts
}

// of is what a map's values are.
func (f *field) of() *field {
	inner := &field{}
	if err := json.Unmarshal(f.Values, inner); err != nil {
		panic(err)
	}
	return inner
}

// records names the records that a field holds.
func (f *field) records() []string {
	switch f.Type {
	case "record":
		return []string{f.Record}
	case "array":
		return f.Items.records()
	case "map":
		return f.of().records()
	}
	return nil
}

// nullable tells whether absent differs from every value, so that nil means absent.
func (f *field) nullable() bool {
	return !f.Required && f.Default == nil
}

// pointer tells whether absent needs a pointer: the zero value is a value of its own.
func (f *field) pointer() bool {
	switch f.Type {
	case "record":
		return !f.Required
	case "boolean":
		return f.nullable() || f.Default == true
	case "integer":
		return f.nullable() && f.Min <= 0
	}
	return false
}
