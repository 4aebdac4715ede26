package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
	"pai.dev/pai/test/inspecttest"
)

// The addresses of the API are held before the proxy restarts. For a proxy that does not ask
// for the listeners, new connections wait from before the restart until it listens, also if
// the restart fails. A proxy that runs serves its connections beside the next one, unless both
// are older ones.
func TestAddressesAreHeldBeforeTheProxyRestarts(t *testing.T) {
	t.Parallel()
	const next = pai.KubernetesVersion("v0.12-pai")
	for _, c := range []struct {
		running, next string // upstream versions; "" if the proxy is stopped
		want          []string
	}{
		{"v1.36.3", "v1.36.3", []string{"pause", "restart", "resume"}},
		{"v1.36.3", "v1.37.2", []string{"hold", "release"}},
		{"v1.37.2", "v1.37.2", []string{"hold", "release"}},
		{"v1.37.2", "v1.36.3", []string{"pause", "release", "resume"}},
		{"", "v1.37.2", []string{"hold", "restart"}},
		{"", "v1.36.3", []string{"pause", "restart", "resume"}},
	} {
		t.Run(c.running+" to "+c.next, func(t *testing.T) {
			t.Parallel()
			f := scripted(t)
			h := f.hosts["pai-2"]
			f.deps.Bundle = upstreamBundle{upstream: c.running}
			if c.running == "" {
				h.Units[layout.Unit(plan.RoleAPIProxy)] = inspecttest.Unit{State: "inactive"}
			}
			h.Write(installedFile(next), fmt.Sprintf(`{"kubernetes":%q,"upstream":%q}`, next, c.next))
			run := h.Script
			stop := errors.New("the test ends here")
			var got []string
			h.Script = func(ctx context.Context, cmd machine.Command) (string, error) {
				for name, command := range map[string]string{
					"hold":  "--unit=" + layout.APIProxyHoldUnit,
					"pause": "table " + pauseTable + " {", "resume": "nft delete table " + pauseTable,
				} {
					if strings.Contains(cmd.Script, command) {
						got = append(got, name)
						return "", nil
					}
				}
				switch {
				case strings.Contains(cmd.Script, "--unit="+layout.APIProxyReplaceUnit):
					got = append(got, "release")
					return "", stop
				case strings.Contains(cmd.Script, "systemctl restart "+layout.Unit(plan.RoleAPIProxy)):
					got = append(got, "restart")
					return "", stop
				}
				return run(ctx, cmd)
			}
			step := plan.Step{Kind: plan.KindRole, Role: plan.RoleAPIProxy, Target: "pai-2", To: pai.AnyVersion(next)}
			if err := Doers(f.deps)[step.Kind].Do(t.Context(), step); !errors.Is(err, stop) {
				t.Errorf("got %v, want the error of the restart", err)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			released, err := os.ReadFile(h.At(releasedFile))
			if slices.Contains(c.want, "release") != (err == nil) {
				t.Fatalf("a configuration without addresses: %v", err)
			}
			if err == nil && (!strings.Contains(string(released), `"listen":[]`) || !strings.Contains(string(released), "10.9.0.11:6443")) {
				t.Errorf("the proxy that was replaced reads %s, want its servers and no address", released)
			}
		})
	}
}

// upstreamBundle is the compared version as one of another upstream Kubernetes.
type upstreamBundle struct {
	digestBundle
	upstream string
}

func (b upstreamBundle) Manifest() release.Manifest {
	m := b.digestBundle.Manifest()
	m.Kubernetes.Upstream = b.upstream
	return m
}

// If the addresses cannot be held, the running proxy stays.
func TestProxyStaysIfItsAddressesCannotBeHeld(t *testing.T) {
	t.Parallel()
	for upstream, command := range map[string]string{"v1.36.3": pauseTable, "v1.37.2": layout.APIProxyHoldUnit} {
		c := scripted(t)
		h := c.hosts["pai-2"]
		c.deps.Bundle = upstreamBundle{upstream: upstream}
		run := h.Script
		h.Script = func(ctx context.Context, cmd machine.Command) (string, error) {
			if strings.Contains(cmd.Script, command) {
				return "", errors.New("exit status 1")
			}
			return run(ctx, cmd)
		}
		step := plan.Step{Kind: plan.KindRole, Role: plan.RoleAPIProxy, Target: "pai-2", To: pai.AnyVersion(comparedVersion)}
		err := Doers(c.deps)[step.Kind].Do(t.Context(), step)
		if err == nil || !strings.Contains(err.Error(), `hold the addresses of the API on "pai-2"`) {
			t.Errorf("%s: got %v, want the address that cannot be held", upstream, err)
		}
		if h.Ran("systemctl restart " + layout.Unit(plan.RoleAPIProxy)) {
			t.Errorf("%s: the proxy was restarted", upstream)
		}
	}
}

// A command that is killed can leave the rules of the pause, without effect after its timeout.
func TestCleanDeletesTheTablesOfTheAPI(t *testing.T) {
	t.Parallel()
	script, err := embedded.ReadFile("scripts/clean.sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{gateTable, pauseTable} {
		if !strings.Contains(string(script), `"`+table+`"`) {
			t.Errorf("the script does not delete the table %s", table)
		}
	}
}
