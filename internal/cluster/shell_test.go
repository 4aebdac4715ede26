package cluster

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"regexp"
	"strings"
	"testing"

	"pai.dev/pai/internal/fingerprint"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/test/inspecttest"
)

// ownPath finds the start of a path that a made-up machine has below its root.
var ownPath = regexp.MustCompile(`(^|[^\w./-])/(opt|etc|var|run|sys)/`)

// stubs replace the programs of a machine that tests must not run.
const stubs = `systemctl() { :; }
journalctl() { echo "the last words"; }
nft() { :; }
sync() { :; }
`

// shell runs the scripts of a machine with sh, on the files below its root. After
// "systemctl restart", it starts the role.
func shell(t *testing.T, h *inspecttest.Host) {
	t.Helper()
	h.Script = func(ctx context.Context, c machine.Command) (string, error) {
		if c.Script == unmountReleased {
			return "", nil // nothing is mounted
		}
		for _, harmful := range []string{"kill", "umount", "reboot", "mount "} {
			if strings.Contains(c.Script, harmful) {
				return "", fmt.Errorf("a test must not run %s", c.Script)
			}
		}
		script := ownPath.ReplaceAllString(c.Script, "${1}"+string(h.Dir)+"/$2/")
		cmd := exec.CommandContext(ctx, "sh", "-euc", stubs+script)
		cmd.Dir = t.TempDir()
		cmd.Env = []string{"PATH=/usr/bin:/bin", "SCRATCH=" + t.TempDir()}
		if c.Stdin != nil {
			cmd.Stdin = c.Stdin
		}
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			return string(out), &machine.CommandError{Host: h.Hostname, Script: c.Script, Code: 1, Output: errs.String()}
		}
		restarted(h, c.Script)
		return string(out), nil
	}
}

// restarted starts the roles that a script restarts, as their links say.
func restarted(h *inspecttest.Host, script string) {
	for n, r := range layout.Roles() {
		if !strings.Contains(script, "systemctl restart "+layout.Unit(r)) {
			continue
		}
		link, err := os.Readlink(h.At(layout.RoleLink(r)))
		if err != nil {
			continue
		}
		version := path.Base(link)
		script, _ := os.ReadFile(h.At(layout.RunScript(version, r))) // without a script it has no settings
		var environment []string
		if settings := exported.FindString(string(script)); settings != "" {
			environment = []string{strings.TrimPrefix(settings, "export ")}
		}
		h.Process(200+n, layout.VersionDir(version)+"/"+layout.ProgramsOf(r)[0], nil, environment)
		h.Units[layout.Unit(r)] = inspecttest.Unit{State: "active", PID: 200 + n}
	}
}

// exported finds the settings that a script exports.
var exported = regexp.MustCompile("export " + fingerprint.Variable + "=[0-9a-f]+")

// healthServer answers the health endpoints of a machine over HTTP, and those of
// the controllers over HTTPS.
func healthServer(t *testing.T, h *inspecttest.Host) {
	t.Helper()
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })
	plain, secure := httptest.NewServer(answer), httptest.NewTLSServer(answer)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	h.Dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		to := plain
		if port == fmt.Sprint(layout.ControllerManagerPort) || port == fmt.Sprint(layout.SchedulerPort) {
			to = secure
		}
		return new(net.Dialer).DialContext(ctx, network, to.Listener.Addr().String())
	}
}

// doStep runs a step that must not be done before, and must be done after.
func doStep(t *testing.T, d Deps, s plan.Step) {
	t.Helper()
	doer := Doers(d)[s.Kind]
	if done, err := doer.Done(t.Context(), s); err != nil || done {
		t.Fatalf("%s %s: got done %v, %v before, want false", s.Kind, s.Role, done, err)
	}
	if err := doer.Do(t.Context(), s); err != nil {
		t.Fatalf("%s %s: %v", s.Kind, s.Role, err)
	}
	if done, err := doer.Done(t.Context(), s); err != nil || !done {
		t.Errorf("%s %s: got done %v, %v after, want true", s.Kind, s.Role, done, err)
	}
}
