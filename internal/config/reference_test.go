package config

import (
	"os"
	"strings"
	"testing"

	"pai.dev/pai/internal/golden"
)

// The tables of docs/configuration.md are made from the definitions that a
// check uses. With -update the test rewrites them.
func TestReferenceIsCurrent(t *testing.T) {
	const path = "../../docs/configuration.md"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for _, file := range files {
		begin, end := "<!-- keys of "+file+", by go test ./internal/config -update -->\n", "<!-- end -->"
		head, rest, ok := strings.Cut(text, begin)
		_, tail, closed := strings.Cut(rest, end)
		if !ok || !closed {
			t.Fatalf("%s has no table for %s", path, file)
		}
		text = head + begin + "\n" + Reference(file) + "\n" + end + tail
	}
	golden.Check(t, path, text)
}

// Every key with an effect has a meaning, and the effect of a change on jobs.
func TestEveryKeyHasDocumentation(t *testing.T) {
	t.Parallel()
	var walk func(path string, k key)
	walk = func(path string, k key) {
		plain := k.shape == text || k.shape == number
		if plain && k.name != "" && k.effect == active && (k.meaning == "" || k.jobs == "") {
			t.Errorf("%s: meaning %q, jobs %q", path, k.meaning, k.jobs)
		}
		if k.item != nil {
			walk(path+"[]", *k.item)
		}
		for _, c := range k.keys {
			walk(join(path, c.name), c)
		}
	}
	for _, file := range files {
		for schema := OldestSchema; schema <= Schema; schema++ {
			walk(file+":", schemaFor(file, schema))
		}
	}
}
