package nvml

import (
	"context"
	"errors"
	"fmt"

	"pai.dev/pai/internal/gpu"
)

const (
	xidEvent = 0x8
	// waitMillis is how long a wait for an event blocks: how late a stop is noticed.
	waitMillis = 500
)

// Watch calls report for each Xid until ctx ends or the driver fails. unwatched is
// called for each GPU whose events the driver does not report.
func (l *Library) Watch(ctx context.Context, uuids []string, unwatched func(string, error), report func(gpu.Event)) error {
	if l.eventSetCreate == nil || l.registerEvents == nil || l.eventSetWait == nil || l.eventSetFree == nil {
		return fmt.Errorf("watch events: %w", l.err(noFunction))
	}
	var set handle
	if r := l.eventSetCreate(&set); r != success {
		return fmt.Errorf("watch events: %w", l.err(r))
	}
	defer l.eventSetFree(set)
	of := map[handle]string{}
	for _, uuid := range uuids {
		l.mu.Lock()
		h := l.known[uuid]
		l.mu.Unlock()
		if err := l.register(h, set); err != nil {
			unwatched(uuid, err)
			continue
		}
		of[h] = uuid
	}
	for ctx.Err() == nil {
		var e eventData
		switch r := l.eventSetWait(set, &e, waitMillis); {
		case r == timedOut:
		case r != success:
			return fmt.Errorf("wait for events: %w", l.err(r))
		case e.kind&xidEvent != 0:
			report(gpu.Event{UUID: of[e.device], Xid: e.data})
		}
		if len(of) == 0 { // the wait would return at once
			<-ctx.Done()
		}
	}
	return ctx.Err()
}

func (l *Library) register(h, set handle) error {
	if h == 0 {
		return errors.New("the GPU was not listed")
	}
	return l.err(l.registerEvents(h, xidEvent, set))
}
