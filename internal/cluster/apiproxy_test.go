package cluster

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
)

// The addresses of the API are held before the proxy restarts. For a proxy that does not ask
// for the listeners, new connections wait from before the restart until it listens, also if
// the restart fails.
func TestAddressesAreHeldBeforeTheProxyRestarts(t *testing.T) {
	t.Parallel()
	for upstream, want := range map[string][]string{
		"v1.36.3": {"pause", "restart", "resume"},
		"v1.37.2": {"hold", "restart"},
	} {
		c := scripted(t)
		h := c.hosts["pai-2"]
		c.deps.Bundle = upstreamBundle{upstream: upstream}
		run := h.Script
		stop := errors.New("the test ends here")
		var got []string
		h.Script = func(ctx context.Context, cmd machine.Command) (string, error) {
			switch {
			case strings.Contains(cmd.Script, "--unit="+layout.APIProxyHoldUnit):
				got = append(got, "hold")
				return "", nil
			case strings.Contains(cmd.Script, "table "+pauseTable+" {"):
				got = append(got, "pause")
				return "", nil
			case strings.Contains(cmd.Script, "nft delete table "+pauseTable):
				got = append(got, "resume")
				return "", nil
			case strings.Contains(cmd.Script, "systemctl restart "+layout.Unit(plan.RoleAPIProxy)):
				got = append(got, "restart")
				return "", stop
			}
			return run(ctx, cmd)
		}
		step := plan.Step{Kind: plan.KindRole, Role: plan.RoleAPIProxy, Target: "pai-2", To: pai.AnyVersion(comparedVersion)}
		if err := Doers(c.deps)[step.Kind].Do(t.Context(), step); !errors.Is(err, stop) {
			t.Errorf("%s: got %v, want the error of the restart", upstream, err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", upstream, got, want)
		}
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
