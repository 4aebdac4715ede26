package operation

import (
	"reflect"
	"testing"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/session"
)

func TestWithChanges(t *testing.T) {
	t.Parallel()
	object := func(kind, name string) kube.Ref { return kube.Ref{Kind: kind, Namespace: "n", Name: name} }
	first := kube.ChangeSet{
		{Object: object("ConfigMap", "file"), Action: kube.Configured},
		{Object: object("Service", "same"), Action: kube.Unchanged},
		{Object: object("Deployment", "program"), Action: kube.Configured, Restarted: true},
	}
	recorded := withChanges(nil, "a", first)
	again := withChanges(recorded, "a", first) // after a kill
	again = withChanges(again, "a", kube.ChangeSet{{Object: object("ConfigMap", "old"), Action: kube.Deleted}})
	again = withChanges(again, "b", kube.ChangeSet{{Object: object("Service", "same"), Action: kube.Unchanged}})
	want := []pai.ServiceChanges{
		{Service: "a", Objects: []pai.ObjectChange{{Object: "ConfigMap n/file", Action: "configured"}, {Object: "Deployment n/program", Action: "configured"},
			{Object: "ConfigMap n/old", Action: "deleted"}}, Restarted: []string{"Deployment n/program"}},
		{Service: "b", Objects: []pai.ObjectChange{}, Restarted: []string{}},
	}
	if !reflect.DeepEqual(again, want) {
		t.Errorf("got\n%+v, want\n%+v", again, want)
	}
	if len(recorded[0].Objects) != 2 {
		t.Errorf("a later change modified the earlier record: %+v", recorded)
	}
}

// The services as a whole are at a revision only if all were refreshed, at the
// release that it names.
func TestRefreshAppliesRevision(t *testing.T) {
	t.Parallel()
	s := &session.Session{Config: &config.Config{}}
	s.Config.Services.Cluster.Common.Release = "v0.10"
	at := func(services pai.ServicesVersion) plan.Plan { return plan.Plan{To: pai.Pair{Services: services}} }
	for _, c := range []struct {
		names []string
		at    pai.ServicesVersion
		want  int
	}{{nil, "v0.10", 1}, {[]string{"kueue"}, "v0.10", 0}, {nil, "v0.9", 0}} {
		if parts := RefreshServices(s, c.names).(applying).Applies(at(c.at)); len(parts) != c.want {
			t.Errorf("refresh of %v at %s: got %v, want %d parts", c.names, c.at, parts, c.want)
		}
	}
}
