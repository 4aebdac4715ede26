package cluster

import (
	"errors"
	"strings"
	"testing"
)

// A restore must assign revisions above those that it reads here, so an answer
// that cannot be read is no revision.
func TestRevisionOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		out  string
		err  error
		want int64
	}{
		{out: `{"hash":4209319503,"revision":4021,"totalKey":1,"totalSize":20480,"version":"3.6.0"}`, want: 4021},
		{out: ""}, // no such file
		{out: "Revision 7", want: -1},
		{err: errors.New("invalid database"), want: -1},
	} {
		h := &fakeHost{run: func(string) (string, error) { return c.out, c.err }}
		got, err := revisionOf(t.Context(), h, "v0.10-pai", "/s/a.db")
		if err != nil {
			got = -1
		}
		if got != c.want || err != nil && !strings.Contains(err.Error(), "/s/a.db") {
			t.Errorf("%q, %v: got %d, %v, want %d", c.out, c.err, got, err, c.want)
		}
	}
}
