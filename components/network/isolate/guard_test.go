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
