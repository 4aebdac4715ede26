package isolate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
)

// known is what the API said last about machines, and about the jobs with tasks here.
type known struct {
	Machines []netip.Addr            `json:"machines"`
	Closed   []netip.Addr            `json:"closed"`
	Peers    map[string][]netip.Addr `json:"peers"`
}

// state is what the next start needs: the API can be unavailable then.
type state struct {
	Known known `json:"known"`
	// Policies are those that the tasks of this machine started with, by sandbox.
	Policies map[string]Policy `json:"policies"`
}

// loadState reads a state file. There is none before the first start.
func loadState(path string) (state, error) {
	s := state{Policies: map[string]Policy{}}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err != nil {
		return state{Policies: map[string]Policy{}}, fmt.Errorf("read %s: %w", path, err)
	}
	if s.Policies == nil {
		s.Policies = map[string]Policy{}
	}
	for id, p := range s.Policies {
		if err := p.check(); err != nil {
			return state{Policies: map[string]Policy{}}, fmt.Errorf("read %s: policy of %s: %w", path, id, err)
		}
	}
	return s, nil
}

// saveState replaces the state file whole.
func saveState(path string, s state) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, append(data, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

func (s state) equal(other state) bool {
	if len(s.Policies) != len(other.Policies) || !slices.Equal(s.Known.Machines, other.Known.Machines) || !slices.Equal(s.Known.Closed, other.Known.Closed) {
		return false
	}
	for id, p := range s.Policies {
		if o, ok := other.Policies[id]; !ok || o.key() != p.key() {
			return false
		}
	}
	return maps.EqualFunc(s.Known.Peers, other.Known.Peers, slices.Equal[[]netip.Addr])
}
