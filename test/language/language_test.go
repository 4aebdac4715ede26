package main

import (
	"fmt"
	"os"
	"testing"
)

func TestCheckFileFindsRetiredWords(t *testing.T) {
	rules, err := parseRules(retired)
	if err != nil {
		t.Fatal(err)
	}
	exceptions, err := parseExceptions(exceptionList)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, file, source string
		want               []string
	}{
		{"prose", "a.md", "Use it.\nThe upgrade goes on.\n", []string{"2 goes on"}},
		{"line break in prose", "a.md", "The upgrade goes\non.\n", []string{"1 goes on"}},
		{"identifier", "a.go", "package a\n\nfunc giveBack() {}\n", []string{"3 give back"}},
		{"comment over two lines", "a.go", "package a\n\n// Nothing is taken\n// back here.\n", []string{"3 taken back"}},
		{"string literal", "a.go", "package a\n\nconst x = \"mend it\"\n", []string{"3 mend"}},
		{"raw string literal", "a.go", "package a\n\nconst x = `one\nmend it`\n", []string{"4 mend"}},
		{"import path", "a.go", "package a\n\nimport \"example.com/mend\"\n", nil},
		{"struct tag", "a.go", "package a\n\ntype A struct {\n\tB string `json:\"fate\"`\n}\n", nil},
		{"contract", "a.md", "The key `apiAway` stays.\n", nil},
		{"hyphenated", "a.sh", "# the clean-up\n", []string{"1 clean-up"}},
		{"plain language", "a.md", "PAI rolls back the upgrade and releases the lock.\n", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			findings, err := checkFile(tc.file, tc.source, rules, exceptions)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range sorted(findings) {
				got = append(got, fmt.Sprintf("%d %s", f.line, f.match))
			}
			if fmt.Sprint(got) != fmt.Sprint(tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestTextsOfThePageAreChecked(t *testing.T) {
	for _, name := range []string{"web/src/messages/en.ts", "web/src/pages/jobs.tsx", "web/index.html", "docs/portal.md"} {
		if skippedFile(name) {
			t.Errorf("%s is not checked", name)
		}
	}
	if skippedFolder("web/src", "src") || !skippedFolder("web/dist", "dist") {
		t.Error("want web/src checked, and not web/dist, which is made from it")
	}
}

func TestParseExceptionsRefusesMissingReason(t *testing.T) {
	if _, err := parseExceptions("*\tx\t\n"); err == nil {
		t.Error("got no error, want one for an entry without a reason")
	}
}

// TestRepositorySpeaksPlainly holds the whole repository against the list.
func TestRepositorySpeaksPlainly(t *testing.T) {
	findings, err := check(os.DirFS("../.."), []string{"."})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		t.Error(f)
	}
}
