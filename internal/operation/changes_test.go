package operation

import (
	"maps"
	"reflect"
	"testing"
	"time"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/session"
	"pai.dev/pai/test/runtest"
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

// The gaps of several steps on a machine add up, and a resumed operation adds to them.
func TestGapsAreRecorded(t *testing.T) {
	t.Parallel()
	journal := run.NewJournal(runtest.Dir(t.TempDir()))
	entry, err := journal.Begin(t.Context(), pai.Operation{Verb: pai.VerbUpgrade, StartSeconds: map[string]float64{"m1": 1}})
	if err != nil {
		t.Fatal(err)
	}
	o := &operation{Session: &session.Session{Progressf: t.Logf}}
	o.noteGap(t.Context(), "m1", time.Hour) // no steps run
	stop := o.recorder.into(entry)
	o.noteGap(t.Context(), "m1", 1500*time.Millisecond)
	o.noteGap(t.Context(), "m2", 250*time.Millisecond)
	o.noteGap(t.Context(), "m1", 500*time.Millisecond)
	stop()
	op, err := journal.Get(t.Context(), entry.Operation().ID)
	if want := map[string]float64{"m1": 3, "m2": 0.25}; err != nil || !maps.Equal(op.StartSeconds, want) {
		t.Errorf("got %v, %v, want %v", op.StartSeconds, err, want)
	}
}
