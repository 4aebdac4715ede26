package pai

import (
	"encoding/json"
	"slices"
	"testing"
)

func verbs() []Verb {
	return []Verb{VerbBoot, VerbClean, VerbStartServices, VerbStopServices, VerbRefresh, VerbDeleteService,
		VerbUpgrade, VerbStage, VerbAbandon, VerbRollback, VerbBackup, VerbScheduledBackup, VerbRestore, VerbMaintain, VerbReturn, VerbRemove, VerbRotateKey, VerbRemoveKey, VerbPushConfig, VerbRollbackConfig, VerbPruneMachines, VerbRenewCertificates, VerbShowStatus, VerbCheck}
}

func TestVerbPredicates(t *testing.T) {
	for _, c := range []struct {
		name string
		of   func(Verb) bool
		want []Verb
	}{
		{"supersedes an upgrade", Verb.SupersedesUpgrade, []Verb{VerbClean, VerbRollback, VerbRestore}},
		{"moves forward", Verb.MovesForward, []Verb{VerbBoot, VerbStartServices, VerbUpgrade}},
		{"leaves nothing partial", Verb.LeavesNothingPartial, []Verb{VerbStage, VerbBackup, VerbMaintain, VerbReturn, VerbRemove, VerbRotateKey, VerbRemoveKey}},
		{"is listed by the upgrade history", func(v Verb) bool { return slices.Contains(UpgradeVerbs(), v) },
			[]Verb{VerbUpgrade, VerbStage, VerbAbandon, VerbRollback}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := slices.DeleteFunc(verbs(), func(v Verb) bool { return !c.of(v) })
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestOperationKeepsUnknownVerb(t *testing.T) {
	var op Operation
	if err := json.Unmarshal([]byte(`{"id":"1","verb":"upgrade-rollback"}`), &op); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(struct {
		Verb Verb `json:"verb"`
	}{op.Verb})
	if err != nil || string(data) != `{"verb":"upgrade-rollback"}` {
		t.Errorf("got %s, %v; want the verb unchanged", data, err)
	}
	if op.Verb.SupersedesUpgrade() || op.Verb.MovesForward() {
		t.Errorf("an unknown verb has no effect, got %v, %v", op.Verb.SupersedesUpgrade(), op.Verb.MovesForward())
	}
}
