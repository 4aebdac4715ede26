package operation

import (
	"context"
	"errors"
	"strings"
	"testing"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/session"
	"pai.dev/pai/test/sessiontest"
)

// The directory of the history is made on the control-plane machine, before the REST
// server of a release that has a history, and is never touched for an older release.
func TestHistoryDirectory(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		services    pai.ServicesVersion
		database    string
		before      error
		unreachable bool
		made        bool
		owned, is   bool   // what the machine says of the directory, and whether it counts as made
		want        string // in the error
	}{
		"v0.11":                 {services: "v0.11", database: "sqlite", made: true, owned: true, is: true},
		"a newer one":           {services: "v0.12", database: "sqlite", made: true},
		"rolled back to v0.10":  {services: "v0.10", database: "sqlite", is: true},
		"PostgreSQL":            {services: "v0.11", database: "postgresql", is: true},
		"no history":            {services: "v0.11", database: "none", is: true},
		"no access":             {services: "v0.11", database: "sqlite", before: errors.New("no secrets"), want: "no secrets"},
		"a machine that is off": {services: "v0.11", database: "sqlite", unreachable: true, want: "machine one is unreachable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var scripts []string
			answer := map[bool]string{true: "owned\n"}[c.owned]
			host := &sessiontest.Host{Hostname: "one", Answer: func(_ context.Context, c machine.Command) (machine.Output, error) {
				scripts = append(scripts, c.Script)
				return machine.Output{Stdout: answer}, nil
			}}
			s := &session.Session{Config: &config.Config{}, Hosts: map[string]machine.Host{"one": host}}
			s.Config.Layout.MachineList = []config.Machine{{Hostname: "two"}, {Hostname: "one", Role: config.RoleControlPlane}}
			s.Config.Services.RestServer.HistoryDatabase = c.database
			if c.unreachable {
				delete(s.Hosts, "one")
			}
			called := 0
			o := newOperation(s, nil, RunOptions{})
			err := o.withHistory(c.services, func(context.Context, *kube.Client) error { called++; return c.before })(t.Context(), nil)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want %q", err, c.want)
			}
			all := strings.Join(scripts, "\n")
			if made := strings.Contains(all, "'/var/lib/pai/rest-server'") && strings.Contains(all, "65532"); made != c.made || len(scripts) > 1 {
				t.Errorf("got the scripts %q, want the directory: %t", scripts, c.made)
			}
			is, err := o.historyIsThere(c.services)(t.Context())
			if wantError := c.unreachable; is != c.is || (err != nil) != wantError {
				t.Errorf("the directory is as it should be: %t, %v", is, err)
			}
			if called != 1 {
				t.Errorf("the secrets were made %d times", called)
			}
		})
	}
}
