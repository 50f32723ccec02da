package main

import (
	"fmt"
	"strings"
)

// hidden are the messages that the library speaks by itself.
var hidden = map[string]bool{
	"Hello": true, "ClientBeat": true, "Take": true, "ClaimJobs": true, "Release": true, "Extend": true,
	"ReportProgress": true, "WriteLog": true, "Complete": true, "Fail": true, "Join": true, "Watch": true,
	"Unwatch": true, "Bye": true, "Welcome": true, "BrokerBeat": true, "Refused": true, "Claims": true,
	"Outcomes": true, "Revoke": true, "Cancelling": true, "Events": true, "Drain": true,
}

// choiceTypes names the types of the choices, by their first and last text.
var choiceTypes = map[string]string{
	"create admin": "Role", "PENDING FAILED": "State", "COMPLETE FAILED": "State", "FAILED CANCELLED": "Reason",
	"fixed list": "BackoffType", "none share": "Jitter", "until_started window": "Scope", "reject replace": "OnDuplicate",
	"disk replicated": "Durability", "log action": "LogEntryType", "idle total": "Expired",
	"removed cancelled": "RevocationReason", "joined replaced": "Duplicate", "completed cancelled": "AttemptEnd",
	"delayed next": "CauseCode",
}

var initials = map[string]string{"id": "ID"}

func camel(name string) string {
	var b strings.Builder
	for _, part := range strings.Split(strings.ToLower(name), "_") {
		if whole, ok := initials[part]; ok {
			b.WriteString(whole)
		} else {
			b.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	return b.String()
}

func recordName(record string) string {
	if hidden[record] {
		return strings.ToLower(record[:1]) + record[1:] + "Message"
	}
	return record
}

func choiceType(f *field) string {
	texts := f.choices()
	name, ok := choiceTypes[texts[0]+" "+texts[len(texts)-1]]
	if !ok {
		panic(fmt.Sprintf("a choice without a name in choiceTypes: %v", texts))
	}
	return name
}

// goType is the type of a value, apart from whether it may be absent.
func goType(f *field) string {
	switch f.Type {
	case "name", "text":
		return "string"
	case "binary":
		return "[]byte"
	case "boolean":
		return "bool"
	case "integer":
		return "int64"
	case "choice":
		return choiceType(f)
	case "record":
		return recordName(f.Record)
	case "array":
		return "[]" + goType(f.Items)
	case "map":
		return "map[" + goType(f.Keys) + "]" + goType(f.of())
	}
	panic("a type that is not known: " + f.Type)
}
