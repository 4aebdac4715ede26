// Command language holds the text of this repository against the words that
// PAI does not use (retired.txt) and prints where they stand:
//
//	go run ./test/language [PATH...]
//
// It reads identifiers, comments, and string literals of Go files, and the
// lines of scripts, documents, templates, and test scripts. What a contract
// prescribes, and each other exception, is in exceptions.txt with its reason.
package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
)

func main() {
	paths := os.Args[1:]
	if len(paths) == 0 {
		paths = []string{"."}
	}
	findings, err := check(os.DirFS("."), paths)
	if err != nil {
		fmt.Fprintln(os.Stderr, "language:", err)
		os.Exit(2)
	}
	for _, f := range findings {
		fmt.Println(f)
	}
	if len(findings) > 0 {
		fmt.Fprintf(os.Stderr, "%d retired words\n", len(findings))
		os.Exit(1)
	}
}

// finding is one retired word at one place.
type finding struct {
	file  string
	line  int
	match string
	use   string // what to say instead
}

func (f finding) String() string {
	return fmt.Sprintf("%s:%d: %q: use %s", f.file, f.line, f.match, f.use)
}

func byPlace(a, b finding) int {
	return cmp.Or(cmp.Compare(a.file, b.file), cmp.Compare(a.line, b.line), cmp.Compare(a.match, b.match))
}

func sorted(findings []finding) []finding {
	slices.SortFunc(findings, byPlace)
	return slices.Compact(findings)
}
