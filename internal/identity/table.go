package identity

import (
	"fmt"
	"strings"
)

// Table is the table of docs/users.md.
func Table() string {
	var b strings.Builder
	b.WriteString("| operation | on | who |\n| --- | --- | --- |\n")
	for _, r := range Rules() {
		fmt.Fprintf(&b, "| %s | %s, %s | %s |\n", r.What, r.Kind, r.Verb, r.Who)
	}
	return b.String()
}
