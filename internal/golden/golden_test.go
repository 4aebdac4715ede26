package golden

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// recorder is a testing.TB that keeps what Check reports.
type recorder struct {
	testing.TB
	failure string
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) { r.failure = fmt.Sprintf(format, args...) }

func TestCheck(t *testing.T) {
	if Updating() {
		t.Skip("this test checks the comparison")
	}
	file := filepath.Join(t.TempDir(), "directory", "file.golden")
	write(t, file, "a\nb\nc\n")
	for _, c := range []struct{ name, got, want string }{
		{"equal", "a\nb\nc\n", ""},
		{"other line", "a\nx\nc\n", "line 2\nwant: b\nc\n\ngot:  x\nc\n"},
		{"fewer lines", "a\nb\n", "line 3\nwant: c\n\ngot:  "},
		{"more lines", "a\nb\nc\nd\n", "line 4\nwant: \ngot:  d\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &recorder{TB: t}
			Check(r, file, c.got)
			if (c.want == "") != (r.failure == "") || !strings.HasSuffix(r.failure, c.want) {
				t.Errorf("got %q, want it to end with %q", r.failure, c.want)
			}
			if command := "go test ./internal/golden -run '^TestCheck$' -update"; c.want != "" && !strings.Contains(r.failure, command) {
				t.Errorf("got %q, want the command %s", r.failure, command)
			}
		})
	}
}

func TestCheckUpdateWritesFile(t *testing.T) {
	was := *update
	*update = true
	defer func() { *update = was }()
	file := filepath.Join(t.TempDir(), "new", "file.golden")
	Check(t, file, "content\n")
	if data, err := os.ReadFile(file); err != nil || string(data) != "content\n" {
		t.Errorf("got %q, %v", data, err)
	}
}
