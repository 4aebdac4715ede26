package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/rest"
)

func TestWriteTokens(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 26, 12, 0, 0, 0, time.Local)
	for _, c := range []struct {
		tokens []rest.TokenInfo
		want   []string
	}{
		{nil, []string{"No tokens."}},
		{[]rest.TokenInfo{
			{ID: "aaa", User: "ada", Created: at, Expires: at.Add(day), Note: "laptop"},
			{ID: "bbb", User: "admin", Admin: true, Created: at},
			{ID: "ccc", User: "bob", Created: at, Expires: at.Add(time.Hour), Expired: true},
		}, []string{
			"ID USER ADMIN CREATED EXPIRES NOTE",
			"aaa ada no 2026-11-26 12:00:00 2026-11-27 12:00:00 laptop",
			"bbb admin yes 2026-11-26 12:00:00 never -",
			"ccc bob no 2026-11-26 12:00:00 expired on 2026-11-26 13:00:00 -",
		}},
	} {
		var out bytes.Buffer
		if err := ui.Text(&out, func(p *ui.Page) { writeTokens(p, c.tokens) }); err != nil {
			t.Fatal(err)
		}
		var got []string
		for line := range strings.Lines(out.String()) {
			got = append(got, strings.Join(strings.Fields(line), " "))
		}
		if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}
