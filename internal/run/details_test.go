package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// The record of a failed step and the error of the run have one line; the
// details are next to it.
func TestRunKeepsDetailsApart(t *testing.T) {
	t.Parallel()
	const details = "the journal of pai-etcd-a ends with:\n    one\n    two"
	w := newWorld()
	w.do = func(context.Context, plan.Step) error {
		return fmt.Errorf("restart etcd: %w", pai.WithDetails(errors.New("exit status 1"), details))
	}
	var records []pai.StepRecord
	var ended []Event
	e := executor(w)
	e.Record = func(_ context.Context, r pai.StepRecord) error { records = append(records, r); return nil }
	e.Events = func(e Event) {
		if e.Kind == StepEnded {
			ended = append(ended, e)
		}
	}
	res := e.Run(t.Context(), chain("a"))
	err := res.Err()
	if err == nil || err.Error() != "step a failed: restart etcd: exit status 1" || pai.DetailsOf(err) != details {
		t.Errorf("got error %v with details %q", err, pai.DetailsOf(err))
	}
	if len(ended) != 1 || ended[0].Message != "restart etcd: exit status 1" || ended[0].Details != details {
		t.Errorf("got events %+v", ended)
	}
	if !slices.Equal(records[len(records)-1:], res.Steps) {
		t.Errorf("got records %+v, want at the end %+v", records, res.Steps)
	}
	res.Steps[0].Seconds = 0.5
	data, err := json.Marshal(res.Steps[0])
	const want = `{"id":"a","outcome":"failed","seconds":0.5,"error":"restart etcd: exit status 1","details":"the journal of pai-etcd-a ends with:\n    one\n    two"}`
	if err != nil || string(data) != want {
		t.Errorf("got %s, %v\nwant %s", data, err, want)
	}
}
