package ui

import (
	"strings"
	"testing"

	"pai.dev/pai/internal/pai"
)

// The report of a refresh lists what changed and what restarted.
func TestRefreshReport(t *testing.T) {
	text := func(op pai.Operation) string {
		var b strings.Builder
		if err := Text(&b, func(p *Page) { report(p, op) }); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	op := pai.Operation{Verb: pai.VerbRefresh, Refreshed: []pai.ServiceChanges{
		{Service: "a", Objects: []pai.ObjectChange{{Object: "Service n/a", Action: "configured"}, {Object: "ConfigMap n/old", Action: "deleted"}}},
		{Service: "b", Restarted: []string{"DaemonSet n/b"}}}}
	for _, want := range []string{"  configured    Service n/a\n", "  deleted       ConfigMap n/old\n", "  restarted     DaemonSet n/b\n"} {
		if got := text(op); !strings.Contains(got, want) {
			t.Errorf("got no line %q in:\n%s", want, got)
		}
	}
	op.Refreshed = op.Refreshed[:1]
	if got := text(op); !strings.Contains(got, "  restarted     nothing\n") {
		t.Errorf("want restarted nothing, got:\n%s", got)
	}
	if got := text(pai.Operation{Verb: pai.VerbUpgrade}); strings.Contains(got, "restarted") {
		t.Errorf("the report of an upgrade lists restarts:\n%s", got)
	}
}
