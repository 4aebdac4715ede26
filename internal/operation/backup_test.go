package operation

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/backup"
	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/pai"
)

func compared() cluster.Comparison {
	job := func(name, state string) cluster.BackupJob {
		return cluster.BackupJob{JobRef: pai.JobRef{User: "ann", Name: name}, State: state}
	}
	return cluster.Comparison{
		Running: []cluster.BackupJob{job("runs", "RUNNING")}, Waiting: []cluster.BackupJob{job("waits", "WAITING")},
		Held:    []cluster.HeldJob{{BackupJob: job("held", "RUNNING"), Why: "pod p no longer exists on m1"}},
		Younger: map[string][]inspect.Container{"m2": {{ID: "c1", Pod: "young", Name: "task"}}},
		Unknown: map[string]error{"m3": errors.New("no answer")},
	}
}

// What a restore does to each job is listed before and after.
func TestRestoreNamesEveryJob(t *testing.T) {
	t.Parallel()
	notes := strings.Join(comparisonNotes(compared()), "\n")
	for _, want := range []string{"keep running: ann~runs", "ann~held (was RUNNING; pod p no longer exists on m1)", "ann~waits", "young on m2", "m3 (no answer)"} {
		if !strings.Contains(notes, want) {
			t.Errorf("the notes lack %q:\n%s", want, notes)
		}
	}
	r := recordOf(backup.Manifest{Name: "b", Taken: time.Now()}, compared(), nil)
	records := map[string]pai.RecordOutcome{}
	for _, j := range r.Jobs {
		records[j.Job] = j.Record
	}
	want := map[string]pai.RecordOutcome{"ann~held": pai.RecordHeld, "ann~waits": pai.RecordEarlier, "unknown on m2": pai.RecordLost}
	if !r.Backup || !maps.Equal(records, want) || !strings.Contains(r.Unknown, "m3") {
		t.Errorf("got %+v, want %v", r, want)
	}
	// A second run finds the held job ended, and still names it.
	again := recordOf(backup.Manifest{Name: "b"}, cluster.Comparison{}, r)
	if len(again.Jobs) != 1 || again.Jobs[0].Job != "ann~held" {
		t.Errorf("got %+v after a second run, want the held job", again.Jobs)
	}
	if _, err := json.Marshal(again); err != nil {
		t.Error(err)
	}
}
