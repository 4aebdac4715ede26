package service

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// What each service of the newest release waits for: everything that it needs at first, and
// on an upgrade, where the older services run, only what its service.yaml says.
func TestServicesThatStartBeside(t *testing.T) {
	t.Parallel()
	services, err := Catalog(sources(t)[len(sources(t))-1].services())
	if err != nil {
		t.Fatal(err)
	}
	var specs []plan.ServiceSpec
	older, withPortal := map[string]plan.Installed{}, map[string]plan.Installed{}
	for _, s := range services {
		specs = append(specs, s.Planned())
		if s.Name != "portal" && s.Name != "alertmanager" { // since v0.11
			older[s.Name] = plan.Installed{Release: "v0.10", Ready: true}
		}
		withPortal[s.Name] = plan.Installed{Release: "v0.10", Ready: true}
	}
	broken := func(name string) map[string]plan.Installed {
		found := map[string]plan.Installed{}
		for n, i := range older {
			i.Ready = n != name
			found[n] = i
		}
		return found
	}
	for name, c := range map[string]struct {
		services map[string]plan.Installed
		unknown  bool
		want     map[string]string
	}{
		"first start":     {nil, false, map[string]string{"kueue": "jobset", "rest-server": "kueue jobset", "portal": "rest-server"}},
		"upgrade":         {older, false, map[string]string{"kueue": "", "rest-server": "jobset", "portal": "rest-server"}},
		"with a portal":   {withPortal, false, map[string]string{"kueue": "", "rest-server": "jobset", "portal": ""}},
		"API unreachable": {older, true, map[string]string{"kueue": "jobset", "rest-server": "kueue jobset", "portal": "rest-server"}},
		"JobSet broken":   {broken("jobset"), false, map[string]string{"kueue": "jobset", "rest-server": "jobset", "portal": "rest-server"}},
		"Kueue broken":    {broken("kueue"), false, map[string]string{"kueue": "", "rest-server": "kueue jobset", "portal": "rest-server"}},
		"server broken":   {broken("rest-server"), false, map[string]string{"kueue": "", "rest-server": "jobset", "portal": "rest-server"}},
	} {
		w := plan.World{APIReachable: !c.unknown, Services: c.services}
		steps, err := plan.Services(w, "v0.11", specs, plan.ServicesOptions{Bundle: plan.BundleRef{Release: "v0.11"}})
		if err != nil {
			t.Fatal(err)
		}
		for service, want := range c.want {
			i := slices.IndexFunc(steps, func(s plan.Step) bool { return s.Kind == plan.KindService && s.Target == service })
			if i < 0 {
				t.Fatalf("%s: no step of %s", name, service)
			}
			var waits []string
			for _, id := range steps[i].After {
				waits = append(waits, strings.TrimPrefix(string(id), "services/v0.11/"))
			}
			if got := strings.Join(waits, " "); got != want {
				t.Errorf("%s: %s waits for %q, want %q", name, service, got, want)
			}
		}
		if i := slices.IndexFunc(steps, func(s plan.Step) bool { return s.Target == "prometheus" }); len(steps[i].After) != 2 {
			t.Errorf("%s: prometheus waits for %v, want both exporters", name, steps[i].After)
		}
	}
}

// A wait for something of another service ends when that one fails, before or meanwhile, and
// continues when it succeeds after all.
func TestWaitEndsWhenServiceBesideFails(t *testing.T) {
	t.Parallel()
	f := newFailures()
	meanwhile, stop := f.until(t.Context(), []string{"jobset", "kueue"})
	defer stop()
	other, stopOther := f.until(t.Context(), []string{"jobset"})
	defer stopOther()
	f.note("jobset", nil)
	f.note("prometheus", errors.New("broken"))
	if meanwhile.Err() != nil {
		t.Fatal("a wait ended although nothing failed that it is for")
	}
	f.note("kueue", errors.New("broken"))
	after, stopAfter := f.until(t.Context(), []string{"kueue"})
	defer stopAfter()
	for name, ctx := range map[string]context.Context{"meanwhile": meanwhile, "after": after} {
		if cause := context.Cause(ctx); cause == nil || !strings.Contains(cause.Error(), "service kueue") {
			t.Errorf("%s: the wait ended with %v, want one that names Kueue", name, cause)
		}
	}
	if other.Err() != nil {
		t.Error("a wait for JobSet ended when Kueue failed")
	}
	f.note("kueue", nil)
	again, stopAgain := f.until(t.Context(), []string{"kueue"})
	defer stopAgain()
	if again.Err() != nil {
		t.Error("a service that was started again counts as failed")
	}
}

// A step whose chart does not render never gets to the point where it is applied. Steps beside it
// still do not wait for it. An API that is not responding is another matter: it can come back.
func TestStepThatCannotBeRenderedEndsWaits(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		step plan.Step
		ends bool
	}{
		"no bundle":        {plan.Step{Kind: plan.KindService, Target: "kueue", From: "v0.10", To: "v0.11"}, true},
		"an API that ends": {plan.Step{Kind: plan.KindService, Target: "kueue", From: "v0.11", To: "v0.10"}, false},
	} {
		d := newStarter(Deps{Kube: func(context.Context) (*kube.Client, error) { return nil, errors.New("connection refused") }})
		ctx, stop := d.failures.until(t.Context(), []string{"kueue"})
		if done, err := d.Done(t.Context(), c.step); done || err == nil {
			t.Errorf("%s: got %t, %v, want an error", name, done, err)
		}
		if ended := ctx.Err() != nil; ended != c.ends {
			t.Errorf("%s: a wait ended: %t, want %t", name, ended, c.ends)
		}
		stop()
	}
}

// A service is behind a release until its change to it is complete.
func TestBehind(t *testing.T) {
	t.Parallel()
	objs := goldenObjects(t, "node-exporter", "v0.10")
	api, client := newFakeAPI(t, objs)
	behind := func() string {
		text := ""
		for _, release := range []string{"v0.10", "v0.11"} {
			is, err := Behind(t.Context(), client, "node-exporter", pai.ServicesVersion(release))
			if err != nil {
				t.Fatal(err)
			}
			if is {
				text += " " + release
			}
		}
		return text
	}
	if got := behind(); got != "" {
		t.Errorf("not started: behind%s", got)
	}
	opts := kube.ApplyOptions{Inventory: inventoryPrefix + "node-exporter", Record: map[string]string{recordRelease: "v0.10"}}
	if _, err := client.Apply(t.Context(), objs, opts); err != nil {
		t.Fatal(err)
	}
	if got := behind(); got != " v0.11" {
		t.Errorf("complete: behind%s, want v0.11", got)
	}
	// Another one has started, and was not completed.
	api.refuse = "daemonsets"
	if _, err := client.Apply(t.Context(), objs, opts); err == nil {
		t.Fatal("got no error for a refused object")
	}
	if got := behind(); got != " v0.10 v0.11" {
		t.Errorf("incomplete: behind%s, want all", got)
	}
}
