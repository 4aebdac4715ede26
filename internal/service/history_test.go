package service

import (
	"context"
	"errors"
	"strings"
	"testing"

	"pai.dev/pai/internal/plan"
)

// Without a history, nothing ties the REST server to a machine. With SQLite, it runs where
// its file is, and sorts in a directory whose size is bounded, because its root cannot be
// written to. With PostgreSQL, it has the certificate of an authority beside the
// connection string.
func TestChartOfTheHistory(t *testing.T) {
	t.Parallel()
	all := sources(t)
	src := all[len(all)-1]
	for database, want := range map[string][]string{
		"none":       {"--history=none"},
		"sqlite":     {"--history=sqlite", "nodeSelector:", "key: node.kubernetes.io/unschedulable", "path: /var/lib/pai/rest-server", "name: SQLITE_TMPDIR", "value: /var/lib/pai/sort", "mountPath: /var/lib/pai/sort", "sizeLimit: 1Gi"},
		"postgresql": {"--history=postgresql", "secretName: rest-server-history", "path: connection", "path: ca.crt", "mountPath: /etc/pai/history"},
	} {
		c := testConfig()
		c.Services.RestServer.HistoryDatabase = database
		objs, err := Render(t.Context(), oneService(t, src, "rest-server", nil), c, src)
		if err != nil {
			t.Fatal(err)
		}
		text := readable(t, objs)
		for _, part := range want {
			if !strings.Contains(text, part) {
				t.Errorf("with the history %s, the objects have no %q", database, part)
			}
		}
		for _, part := range []string{"nodeSelector:\n        kubernetes.io/hostname", "SQLITE_TMPDIR", "/var/lib/pai/rest-server"} {
			if database != "sqlite" && strings.Contains(text, part) {
				t.Errorf("with the history %s, the objects have %q", database, part)
			}
		}
	}
}

// A service for which something is missing that must exist before it is not done, so that
// the same command makes it again.
func TestDoneAsksForWhatMustExist(t *testing.T) {
	t.Parallel()
	unreachable := errors.New("unreachable")
	for _, kind := range []plan.Kind{plan.KindService, plan.KindRefresh} {
		for _, cause := range []error{nil, unreachable} {
			d := Deps{Prepared: map[string]func(context.Context) (bool, error){"rest-server": func(context.Context) (bool, error) { return false, cause }}}
			done, err := Doers(d)[kind].Done(t.Context(), plan.Step{Kind: kind, Target: "rest-server"})
			if done || !errors.Is(err, cause) {
				t.Errorf("%s: done is %t, %v", kind, done, err)
			}
		}
	}
}
