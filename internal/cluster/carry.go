package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
)

// Carried is what a restore changes in the restored data: the records of jobs that
// ended after the snapshot, and the users of the REST server. Otherwise these jobs would
// run again, and revoked tokens would be valid again.
type Carried struct {
	Put    map[string][]byte `json:"put"`
	Remove []string          `json:"remove"`
}

// Carry keeps the records of jobs as they are now, or removes those that the
// snapshot has.
type Carry struct {
	Keep   []string // "namespace/object"
	Remove []string
}

// CanKeep is why the older version cannot read the present record of a job; nil if
// it can. It reads the namespaces and the stored versions that the snapshot has.
func (l Loss) CanKeep(id string) error {
	if l.Created[namespaceKey(id)] {
		return errors.New("its virtual cluster was added after the snapshot")
	}
	key := jobSetKey(id)
	if !l.hasForm(formOf(key, l.Now[key])) {
		return errors.New("its record has a form that the older version does not store")
	}
	return nil
}

// hasForm reports whether the snapshot stores objects of that kind and version.
func (l Loss) hasForm(form string) bool {
	for key, value := range l.Then {
		if formOf(key, value) == form {
			return true
		}
	}
	return false
}

func jobSetKey(id string) string { return "/registry/jobset.x-k8s.io/jobsets/" + id }

// Carried returns the keys that implement a Carry.
func (l Loss) Carried(c Carry) (Carried, error) {
	carried := Carried{Put: map[string][]byte{}, Remove: []string{}}
	switch {
	case l.users != nil:
		carried.Put[usersKey] = l.users
	case l.UsersChanged:
		carried.Remove = append(carried.Remove, usersKey)
	}
	then, err := l.Then.Records()
	if err != nil {
		return carried, err
	}
	now, err := l.Now.Records()
	if err != nil {
		return carried, err
	}
	for _, id := range c.Keep {
		for _, key := range now[id].Keys() {
			// Kueue needs no workload of a job that has ended.
			if kindOfKey(key) != kindWorkloads || l.hasForm(formOf(key, l.Now[key])) {
				carried.Put[key] = l.Now[key]
			}
		}
	}
	for _, id := range slices.Concat(c.Keep, c.Remove) {
		for _, key := range then[id].Keys() {
			if carried.Put[key] == nil {
				carried.Remove = append(carried.Remove, key)
			}
		}
	}
	return carried, nil
}

// Keys are the keys of a job; none of a nil record.
func (r *JobRecord) Keys() []string {
	if r == nil {
		return nil
	}
	return r.keys
}

// carriedFile has what a restore that was killed still has to change.
const carriedFile = layout.SnapshotsDir + "/.carried.json"

func writeCarried(ctx context.Context, h machine.Host, c Carried) error {
	data, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode the records of ended jobs: %w", err)
	}
	return h.WriteFile(ctx, carriedFile, data, 0o600) // jobs can contain secrets
}

// applyCarried changes the restored data before the API server serves it.
func (c *cluster) applyCarried(ctx context.Context, h machine.Host, to layout.Slot) error {
	data, err := h.ReadFile(ctx, carriedFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var carried Carried
	if err := json.Unmarshal(data, &carried); err != nil {
		return fmt.Errorf("%s on %q is damaged: %w", carriedFile, h.Name(), err)
	}
	client, err := c.etcds.Open(ctx, h)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Replace(ctx, to, carried.Put, carried.Remove); err != nil {
		return err
	}
	return h.Remove(ctx, carriedFile)
}
