package main

import (
	"fmt"
	"strings"
)

// writeCodec writes how records are encoded and decoded, each bound checked on the way.
func (g *generator) writeCodec() {
	g.header()
	g.line("import (\n\"maps\"\n\"slices\"\n)\n")
	for _, record := range g.schema.names {
		if tag := g.requests[record]; tag != "" {
			g.writeRequest(record, g.schema.ClientMessages[tag])
		} else if g.sent[record] {
			g.line("func (m *%s) encode(e *encoder) {\nat := e.open()", recordName(record))
			for _, f := range g.schema.fields(record) {
				g.writeEncodeField(&f)
			}
			g.line("e.close(at)\n}\n")
		}
		if g.received[record] {
			g.writeDecode(record)
		}
	}
}

// writeRequest writes a request's parts apart, so that items of several callers share a frame.
func (g *generator) writeRequest(record string, m *message) {
	name := recordName(record)
	g.line("func (m *%s) tag() string { return %q }\n", name, m.tag)
	g.line("func (m *%s) result() *%s { return nil }\n", name, recordName(m.Results))
	g.line("func (m *%s) encodeRest(e *encoder) {", name)
	var items *field
	for _, f := range g.schema.fields(record) {
		if f.Name == m.Items {
			items = &f
			continue
		}
		g.writeEncodeField(&f)
	}
	g.line("}\n")
	if items == nil {
		g.line("func (m *%s) items() (string, int) { return \"\", 1 }\n", name)
		g.line("func (m *%s) encodeItem(*encoder, int) {}\n", name)
		return
	}
	g.line("func (m *%s) items() (string, int) { return %q, len(m.%s) }\n", name, m.Items, camel(m.Items))
	g.line("func (m *%s) encodeItem(e *encoder, i int) {\n%s\n}\n", name,
		encodeValue(fmt.Sprintf("m.%s[i]", camel(m.Items)), items.Items))
}

func (g *generator) writeEncodeField(f *field) {
	value := "m." + camel(f.Name)
	if condition := present(f, value); condition != "" {
		g.line("if %s {", condition)
		defer g.line("}")
	}
	if f.pointer() && f.Type != "record" {
		value = "*" + value
	}
	g.line("e.key(%q)\n%s", f.Name, encodeValue(value, f))
}

// present is the condition under which a field is sent.
func present(f *field, value string) string {
	switch {
	case f.Required:
		return ""
	case f.pointer() || f.Type == "map" || f.Type == "binary" && f.nullable():
		return value + " != nil"
	case f.Type == "array" || f.Type == "binary":
		return "len(" + value + ") > 0"
	case f.Type == "boolean":
		return value
	}
	zero := "0"
	if f.Type != "integer" {
		zero = `""`
	}
	condition := value + " != " + zero
	switch d := f.Default.(type) {
	case float64:
		if d != 0 {
			condition += fmt.Sprintf(" && %s != %d", value, int64(d))
		}
	case string:
		if d != "" {
			condition += fmt.Sprintf(" && %s != %q", value, d)
		}
	}
	return condition
}

func encodeValue(value string, f *field) string {
	switch f.Type {
	case "integer":
		return fmt.Sprintf("e.integer(%s, %d, %d)", value, f.Min, f.Max)
	case "name":
		return fmt.Sprintf("e.name(%s, %d)", value, f.Max)
	case "text":
		return fmt.Sprintf("e.text(%s, %d)", value, f.Max)
	case "binary":
		return fmt.Sprintf("e.binary(%s, %d, %d)", value, f.Min, f.Max)
	case "boolean":
		return fmt.Sprintf("e.boolean(%s)", value)
	case "choice":
		return fmt.Sprintf("encodeChoice(e, %s, %s)", value, quoted(f.choices()))
	case "record":
		return value + ".encode(e)"
	case "array":
		return fmt.Sprintf("e.array(len(%s), %d, %d)\nfor _, item := range %s {\n%s\n}",
			value, f.Min, f.Max, value, encodeValue("item", f.Items))
	case "map":
		return fmt.Sprintf("e.mapping(len(%s), %d, %d)\nfor _, key := range slices.Sorted(maps.Keys(%s)) {\n%s\n%s\n}",
			value, f.Min, f.Max, value, encodeValue("key", f.Keys), encodeValue(value+"[key]", f.of()))
	}
	panic("a type that is not known: " + f.Type)
}

func (g *generator) writeDecode(record string) {
	name := recordName(record)
	g.line("func (m *%s) decode(d *decoder) {", name)
	var required []string
	g.line("*m = %s{%s}", name, defaults(g.schema.fields(record)))
	for _, f := range g.schema.fields(record) {
		if f.Required {
			required = append(required, f.Name)
		}
	}
	if len(required) > 0 {
		g.line("var seen uint64")
	}
	g.line("for n := d.mapping(0, maxMapItems); n > 0 && d.err == nil; n-- {\nswitch string(d.key()) {")
	bit := 0
	for _, f := range g.schema.fields(record) {
		g.line("case %q:", f.Name)
		switch value := decodeValue(&f); {
		case f.nullable() && f.pointer():
			g.line("if !d.null() {\nvalue := %s\nm.%s = &value\n}", value, camel(f.Name))
		case f.nullable():
			g.line("if !d.null() {\nm.%s = %s\n}", camel(f.Name), value)
		case f.pointer():
			g.line("value := %s\nm.%s = &value", value, camel(f.Name))
		default:
			g.line("m.%s = %s", camel(f.Name), value)
		}
		if f.Required {
			g.line("seen |= 1 << %d", bit)
			bit++
		}
	}
	g.line("default:\nd.skip()\n}\n}")
	if len(required) > 0 {
		g.line("d.require(seen, %s)", quoted(required))
	}
	g.line("}\n")
}

func defaults(fields []field) string {
	var set []string
	for _, f := range fields {
		switch d := f.Default.(type) {
		case float64:
			if d != 0 {
				set = append(set, fmt.Sprintf("%s: %d", camel(f.Name), int64(d)))
			}
		case string:
			if d != "" {
				set = append(set, fmt.Sprintf("%s: %q", camel(f.Name), d))
			}
		}
	}
	return strings.Join(set, ", ")
}

func decodeValue(f *field) string {
	switch f.Type {
	case "integer":
		return fmt.Sprintf("d.integer(%d, %d)", f.Min, f.Max)
	case "name":
		return fmt.Sprintf("d.name(%d)", f.Max)
	case "text":
		return fmt.Sprintf("d.text(%d)", f.Max)
	case "binary":
		return fmt.Sprintf("d.binary(%d, %d)", f.Min, f.Max)
	case "boolean":
		return "d.boolean()"
	case "choice":
		return fmt.Sprintf("decodeChoice[%s](d, %s)", choiceType(f), quoted(f.choices()))
	case "record":
		return fmt.Sprintf("decodeRecord[%s](d)", recordName(f.Record))
	case "array":
		return fmt.Sprintf("decodeArray(d, %d, %d, %s)", f.Min, f.Max, decodeFunc(f.Items))
	case "map":
		most := f.Max
		if most == 0 {
			most = 1024
		}
		return fmt.Sprintf("decodeMap(d, %d, %d, %s, %s)", f.Min, most, decodeFunc(f.Keys), decodeFunc(f.of()))
	}
	panic("a type that is not known: " + f.Type)
}

func decodeFunc(f *field) string {
	return fmt.Sprintf("func(d *decoder) %s { return %s }", goType(f), decodeValue(f))
}

func quoted(texts []string) string {
	all := make([]string, len(texts))
	for i, text := range texts {
		all[i] = fmt.Sprintf("%q", text)
	}
	return strings.Join(all, ", ")
}

// writeNames writes what the tests need to find a message by its tag.
func (g *generator) writeNames() {
	g.header()
	g.line("// requestsByTag makes an empty request; its results are decoded by the second.\nvar requestsByTag = map[string]struct {\nrequest func() wireRequest\nresult func() decodable\n}{")
	for _, record := range g.schema.names {
		if tag := g.requests[record]; tag != "" {
			result := recordName(g.schema.ClientMessages[tag].Results)
			g.line("%q: {func() wireRequest { return &%s{} }, func() decodable { return &%s{} }},", tag, recordName(record), result)
		}
	}
	g.line("}\n\n// pushesByTag makes an empty message of the broker.\nvar pushesByTag = map[string]func() decodable{")
	for _, record := range g.schema.names {
		for tag, m := range g.schema.BrokerMessages {
			if m.Record == record {
				g.line("%q: func() decodable { return &%s{} },", tag, recordName(record))
			}
		}
	}
	g.line("}")
}
