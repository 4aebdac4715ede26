package isolate

import (
	"context"
	"errors"
	"testing"
	"time"
)

// A table is restored when it existed and is missing; the one of a unit only after
// longer than its replacement takes, and not again while it comes.
func TestGuardRestoresWhatWasThere(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		after int
		there string // one look each: + there, - gone, w a pause
		want  int
	}{
		"never there":           {1, "----", 0},
		"removed":               {1, "++-+", 1},
		"removed twice":         {1, "+-+-+", 2},
		"not restored at once":  {1, "+--+", 2},
		"a unit is replaced":    {5, "+----+----+", 0},
		"a unit lost its rules": {5, "+------+", 1},
		"a unit that is slow":   {5, "+---------", 1},
		"a unit that fails":     {5, "+------w-", 2},
	} {
		count := 0
		g := &guard{table: "ip x", after: c.after, restore: func(context.Context) error { count++; return errors.New("not now") }}
		for _, look := range c.there {
			if look == 'w' {
				g.last = g.last.Add(-restorePause - time.Second)
				continue
			}
			g.look(t.Context(), look == '+')
		}
		if count != c.want {
			t.Errorf("%s: got %d restores, want %d", name, count, c.want)
		}
	}
}

// A table that its caller has written is restored also when something removed it before
// the first look. One of a unit that has not written it yet is left to the unit.
func TestGuardOfAWrittenTableNeedsNoFirstLook(t *testing.T) {
	t.Parallel()
	k := &Keeper{}
	restored := 0
	k.Guard("ip x", func(context.Context) error { restored++; return nil })
	k.GuardUnit("ip y", "no-such-unit.service")
	for range 10 {
		k.guards[1].look(t.Context(), false)
	}
	if !k.guards[1].last.IsZero() {
		t.Error("a unit that never had a table was started again")
	}
	k.guards[0].look(t.Context(), false)
	if restored != 1 {
		t.Errorf("got %d restores at the first look, want 1", restored)
	}
}
