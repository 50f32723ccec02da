package main

import (
	"slices"
	"sort"
	"strings"
)

// writeShapes writes the structs, and the constants of choices, codes and limits.
func (g *generator) writeShapes() {
	g.header()
	g.writeConstants()
	g.writeChoices()
	for _, record := range g.schema.names {
		name := recordName(record)
		if !g.sent[record] && !g.received[record] {
			continue
		}
		switch tag := g.requests[record]; {
		case tag != "":
			g.line("// %s is the request `%s`.", name, tag)
		default:
			g.line("// %s is the protocol's %s.", name, record)
		}
		g.line("type %s struct {", name)
		for _, f := range g.schema.fields(record) {
			g.writeField(record, &f)
		}
		g.line("}\n")
	}
}

func (g *generator) writeField(record string, f *field) {
	tag, pointer := f.Name, ""
	if !f.Required {
		tag += ",omitzero"
	}
	if f.pointer() {
		pointer = "*"
	}
	meaning := g.meanings[record][f.Name]
	if f.Default == true {
		meaning += "; nil: true"
	} else if number, ok := f.Default.(float64); ok && number != 0 {
		meaning += "; 0: the default"
	}
	g.line("// %s: %s.", camel(f.Name), meaning)
	g.line("%s %s%s `json:\"%s\"`", camel(f.Name), pointer, goType(f), tag)
}

func (g *generator) writeConstants() {
	g.line("// The protocol's limits.\nconst (")
	limits := make([]string, 0, len(g.schema.Limits))
	for limit := range g.schema.Limits {
		limits = append(limits, limit)
	}
	sort.Strings(limits)
	for _, limit := range limits {
		name := camel(limit)
		g.line("%s = %d", strings.ToLower(name[:1])+name[1:], g.schema.Limits[limit])
	}
	g.line(")\n\n// Code tells why the broker refused something: more codes may come.\ntype Code string\n")
	g.line("// The codes of the protocol.\nconst (")
	for _, c := range g.schema.Codes {
		g.line("Code%s Code = %q", camel(c.Code), c.Code)
	}
	g.line(")\n")
}

func (g *generator) writeChoices() {
	found := map[string][]string{}
	for _, record := range g.schema.names {
		for _, f := range g.schema.fields(record) {
			if f.Type == "array" {
				f = *f.Items
			}
			if f.Type != "choice" {
				continue
			}
			if texts := f.choices(); len(texts) > len(found[choiceType(&f)]) {
				found[choiceType(&f)] = texts
			}
		}
	}
	names := make([]string, 0, len(found))
	for name := range found {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		g.line("// %s is a choice of the protocol.\ntype %s string\n\n// The choices of %s.\nconst (", name, name, name)
		for _, text := range found[name] {
			g.line("%s%s %s = %q", name, camel(text), name, text)
		}
		g.line(")\n")
	}
}
