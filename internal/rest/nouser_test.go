package rest

import (
	"net/http"
	"strings"
	"testing"

	"pai.dev/pai/internal/identity"
)

// A list of the jobs of a user who does not exist is an error, not an empty list.
func TestListOfAUserWhoDoesNotExist(t *testing.T) {
	t.Parallel()
	w := newWhole(t, identity.Policy{}, "default")
	ada, boss := w.user(t, "ada", false), w.user(t, "boss", true)
	w.memory.admitted(t, "left", "train", 1) // their user was deleted
	for _, c := range []struct {
		query, token string
		status       int
		want         string
	}{
		{"username=ada", ada, 200, "[]"},
		{"username=boss", ada, 200, "[]"},
		{"username=adda", ada, 404, `user \"adda\" not found`},
		{"username=adda", boss, 404, `user \"adda\" not found`},
		{"username=adda&state=RUNNING", boss, 404, `user \"adda\" not found`},
		{"username=adda", "", 401, ""},
		{"username=left", boss, 200, "left"},
		{"username=ada&vc=default", ada, 200, "[]"},
		{"username=ada&vc=other", ada, 404, `virtual cluster \"other\" not found`},
		{"", ada, 200, "[]"},
	} {
		status, text := w.ask(t, http.MethodGet, "/api/v2/jobs?"+c.query, c.token, "")
		if status != c.status || !strings.Contains(text, c.want) {
			t.Errorf("%s: got %d %s, want %d %s", c.query, status, text, c.status, c.want)
		}
	}
	// The list of OpenPAI is empty, as its clients expect.
	if status, text := w.ask(t, http.MethodGet, "/rest-server/api/v2/jobs?username=adda", ada, ""); status != 200 || text != "[]" {
		t.Errorf("got %d %s", status, text)
	}
}
