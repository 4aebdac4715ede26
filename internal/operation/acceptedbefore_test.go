package operation

import (
	"testing"

	"pai.dev/pai/internal/guard"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/test/runtest"
)

// An interruption that the operator accepted does not stop the operation after a
// resume, for which the operator did not name the risk again.
func TestResumeKeepsAcceptedInterruptions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		risks []string
		want  bool
	}{
		"accepted before": {[]string{guard.AcceptInterrupt}, true},
		"another risk":    {[]string{guard.AcceptEvict("gpu-01")}, false},
		"that job":        {[]string{guard.AcceptInterruptJob("ada~train")}, true},
		"another job":     {[]string{guard.AcceptInterruptJob("bob~train"), guard.AcceptInterruptJob("ada~eval")}, false},
		"none":            {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			entry, err := run.NewJournal(runtest.Dir(t.TempDir())).Begin(t.Context(), pai.Operation{Verb: pai.VerbUpgrade, AcceptedRisks: c.risks})
			if err != nil {
				t.Fatal(err)
			}
			x := &execution{operation: &operation{}, entry: entry, admission: &admission{entry: entry}}
			if got := x.isAccepted(pai.ContainerEnd{Job: "ada~train"}); got != c.want {
				t.Errorf("got accepted %v, want %v", got, c.want)
			}
		})
	}
}
