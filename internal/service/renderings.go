package service

import (
	"sync"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// renderings keeps what was rendered for the steps of one operation. Each step asks three
// times, and the charts of Kueue and JobSet take long. Bundle and configuration stay the same
// meanwhile, and the same input gives the same objects.
type renderings struct {
	mu  sync.Mutex
	all map[rendering]wanted
}

// rendering is one service of one release.
type rendering struct {
	service string
	release pai.AnyVersion
}

func newRenderings() *renderings { return &renderings{all: map[rendering]wanted{}} }

// of returns what was rendered for a step; ok is false if nothing was.
func (r *renderings) of(s plan.Step) (w wanted, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w, ok = r.all[rendering{s.Target, s.To}]
	return w, ok
}

func (r *renderings) keep(s plan.Step, w wanted) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all[rendering{s.Target, s.To}] = w
}
