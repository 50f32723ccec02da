package main

import (
	"regexp"
	"strings"
)

// meanings holds what SPEC.md says of each record's fields.
type meanings map[string]map[string]string

var (
	table = regexp.MustCompile(`(?s)<!-- table: fields (\w+) -->\n(.*?)<!-- end -->`)
	row   = regexp.MustCompile("(?m)^\\| `(\\w+)` \\| .* \\| ([^|]+) \\|$")
	link  = regexp.MustCompile(`\[([^\]]+)\]\([^)]*\)`)
)

func readMeanings(spec string) meanings {
	found := meanings{}
	for _, t := range table.FindAllStringSubmatch(spec, -1) {
		found[t[1]] = map[string]string{}
		for _, r := range row.FindAllStringSubmatch(t[2], -1) {
			found[t[1]][r[1]] = strings.ReplaceAll(link.ReplaceAllString(r[2], "$1"), "`", "")
		}
	}
	return found
}
