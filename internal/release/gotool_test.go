package release

import (
	"context"
	"strings"
	"testing"

	"pai.dev/pai/internal/pai"
)

// Not parallel: it changes the environment.
func TestBuildRefusesWithoutTheChecksumDatabase(t *testing.T) {
	t.Setenv("GOSUMDB", "off")
	_, err := Build(context.Background(), fixtureOptions(sourceFixture(t), t.TempDir(), &strings.Builder{}))
	if pai.CodeOf(err) != pai.CodeRefused || !strings.Contains(err.Error(), "checksum database of Go is off") {
		t.Errorf("built, or another error: %v", err)
	}
}

func TestCompileErrorsAreShown(t *testing.T) {
	t.Parallel()
	source := sourceFixture(t)
	replaceFile(t, source+"/internal/word/word.go", "package word\n\nconst Hello = missing\n")
	_, err := Build(context.Background(), fixtureOptions(source, t.TempDir(), &strings.Builder{}))
	if err == nil || !strings.Contains(err.Error(), "undefined: missing") || !strings.Contains(err.Error(), "cmd/tool") {
		t.Errorf("the error does not show what is wrong where: %v", err)
	}
}
