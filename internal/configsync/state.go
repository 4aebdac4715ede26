package configsync

import (
	"context"
	"fmt"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/revision"
	"pai.dev/pai/internal/session"
)

// State is how far the newest revision was applied.
type State struct {
	Newest *revision.Info `json:"newest,omitempty"`
	// Applied is the last revision that was applied to each part.
	Applied revision.Applied `json:"applied"`
	// Pending are the parts with changes that were not applied, as far as known.
	Pending []revision.Part `json:"pending"`
	// Directory compares the configuration directory with the newest revision.
	Directory string `json:"folder"`
}

// The states of a configuration directory.
const (
	Same     = "same"
	Changed  = "changed" // and can be pushed
	Outdated = "behind"  // another operator pushed
)

// ReadState reads what was pushed and what was applied.
func ReadState(ctx context.Context, s *session.Session) (State, error) {
	store, err := s.Revisions()
	if err != nil {
		return State{}, err
	}
	return stateOf(ctx, store, s.Config.Dir, s.ClusterID())
}

func stateOf(ctx context.Context, store *revision.Store, dir, clusterID string) (State, error) {
	state := State{Pending: []revision.Part{}, Directory: Changed}
	f, err := read(ctx, store, dir, clusterID)
	if err != nil {
		return state, err
	}
	if state.Applied, err = store.Applied(ctx); err != nil || f.Newest == nil {
		return state, err
	}
	state.Newest = &f.Newest.Info
	for _, part := range []revision.Part{revision.Kubernetes, revision.Services} {
		pending, err := pending(ctx, store, part, state.Applied[part], *f.Newest)
		if err != nil {
			return state, err
		}
		if pending {
			state.Pending = append(state.Pending, part)
		}
	}
	switch {
	case f.Unchanged():
		state.Directory = Same
	case f.IsOutdated():
		state.Directory = Outdated
	}
	return state, nil
}

// pending reports whether the newest revision has changes for a part that is at
// an older one. If that is unknown, it has.
func pending(ctx context.Context, store *revision.Store, part revision.Part, at int, newest revision.Revision) (bool, error) {
	if at == newest.Number {
		return false, nil
	}
	if at == 0 {
		return true, nil
	}
	r, err := store.Get(ctx, at)
	if pai.CodeOf(err) == pai.CodeNotFound {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	before, _ := config.FromFiles(fmt.Sprintf("revision-%d", at), r.Files)
	after, _ := config.FromFiles(fmt.Sprintf("revision-%d", newest.Number), newest.Files)
	if before == nil || after == nil {
		return true, nil
	}
	changes, err := config.Diff(concerning(part, *before), concerning(part, *after))
	return err != nil || len(changes) > 0, nil
}

// concerning is the content of a configuration that can affect a part: not the
// version of the other part, and for machines only the shared settings of services.
func concerning(part revision.Part, c config.Config) *config.Config {
	c.Services.Cluster.Common.HistoryLimit = 0
	if part == revision.Services {
		c.Kubernetes.Version = ""
		return &c
	}
	c.Services = config.Services{Cluster: c.Services.Cluster}
	c.Services.Cluster.Common.Release = ""
	return &c
}
