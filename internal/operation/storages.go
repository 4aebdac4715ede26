package operation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"pai.dev/pai/internal/inspect/helper"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/session"
	"pai.dev/pai/internal/storageprobe"
)

// CheckedStorage is a storage, and what each machine found.
type CheckedStorage struct {
	Storage  string           `json:"storage"`
	Type     string           `json:"type"`
	Where    string           `json:"where"` // SERVER:PATH, or PATH
	Machines []StorageMachine `json:"machines"`
	// Notes are no problems, but can surprise users.
	Notes []string `json:"notes,omitempty"`
}

// StorageMachine is what a machine found.
type StorageMachine struct {
	Machine string `json:"machine"`
	// OK: tasks of the machine can use the storage.
	OK bool `json:"ok"`
	storageprobe.Result
	// Found is what is wrong, or why the machine was not asked. Fix is what to do.
	Found string `json:"found,omitempty"`
	Fix   string `json:"fix,omitempty"`
	// LeftOut: the machine is off for its maintenance.
	LeftOut bool `json:"leftOut,omitempty"`
}

const (
	// parallelProbes bounds how many machines use a server at the same time: figures are of
	// machines that share it.
	parallelProbes = 8
	// probeTimeout is when a machine counts as hung: it ends a probe itself before.
	probeTimeout = storageprobe.Limit + 30*time.Second
)

// CheckStorages tries the named storages of the configuration, or all, on all machines. The result has
// each of them, also with an error, which counts the problems.
func CheckStorages(ctx context.Context, s *session.Session, names []string) ([]CheckedStorage, error) {
	storages, err := chosenStorages(s, names)
	if err != nil {
		return nil, err
	}
	off, err := OffForMaintenance(ctx, s)
	if err != nil {
		return nil, err
	}
	checked := make([]CheckedStorage, len(storages))
	for n, storage := range storages {
		checked[n] = CheckedStorage{Storage: storage.Name, Type: storage.Type, Where: storage.Where(), Machines: make([]StorageMachine, len(s.Config.Layout.MachineList))}
	}
	var group errgroup.Group
	group.SetLimit(parallelProbes)
	for m, entry := range s.Config.Layout.MachineList {
		group.Go(func() error {
			for n, storage := range storages {
				checked[n].Machines[m] = tryOn(ctx, s, entry.Hostname, off[entry.Hostname], storage)
			}
			return nil
		})
	}
	_ = group.Wait() // each machine has its problem
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for n := range checked {
		checked[n].Notes = notesOf(checked[n])
	}
	return checked, problemsOf(checked)
}

// chosenStorages are the named storages of the configuration, each once, or all.
func chosenStorages(s *session.Session, names []string) ([]pai.Storage, error) {
	all := s.Config.Services.StorageList()
	if len(names) == 0 {
		return all, nil
	}
	var known []string
	for _, storage := range all {
		known = append(known, storage.Name)
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, pai.Errorf(pai.CodeNotFound, "name storages of the configuration: "+orNone(known), "storage %q not found in the configuration", name)
		}
	}
	return slices.DeleteFunc(all, func(storage pai.Storage) bool { return !slices.Contains(names, storage.Name) }), nil
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "it has none"
	}
	return strings.Join(names, ", ")
}

// tryOn tries a storage on a machine.
func tryOn(ctx context.Context, s *session.Session, name string, off bool, storage pai.Storage) StorageMachine {
	h := s.Hosts[name]
	switch {
	case off:
		return StorageMachine{Machine: name, LeftOut: true, Found: leftForMaintenance}
	case h == nil:
		return StorageMachine{Machine: name, Found: "the machine is unreachable", Fix: "start it, and let this host reach it with ssh"}
	}
	s.Progressf("trying storage %s on machine %s", storage.Name, name)
	return tryWith(ctx, h, storage, probeTimeout)
}

func tryWith(ctx context.Context, h machine.Host, storage pai.Storage, limit time.Duration) StorageMachine {
	found := StorageMachine{Machine: h.Name()}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var err error
	found.Result, err = helper.TryStorage(ctx, h, storageprobe.Request{Type: storage.Type, Server: storage.Server, Path: storage.Path, ReadOnly: storage.ReadOnly})
	switch {
	case err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		// Its program ends itself, unless the kernel does not let it.
		found.Result = storageprobe.Result{Problem: storageprobe.Silent, Detail: fmt.Sprintf("no result within %s", limit)}
	case err != nil:
		found.Result = storageprobe.Result{Problem: storageprobe.Failed, Detail: storageprobe.Printable(err.Error())}
	}
	found.Found, found.Fix = found.Explain(storage)
	if next := pai.NextOf(err); next != "" && found.Problem == storageprobe.Failed {
		found.Fix = next
	}
	found.OK = found.Problem == ""
	return found
}

// notesOf are notes about a storage.
func notesOf(c CheckedStorage) (notes []string) {
	var local, root []string
	for _, m := range c.Machines {
		if m.OK && m.Local {
			local = append(local, m.Machine)
		}
		if m.OK && m.OnlyRoot {
			root = append(root, m.Machine)
		}
	}
	if c.Type == pai.StorageDirectory && len(local) > 0 && len(c.Machines) > 1 {
		notes = append(notes, fmt.Sprintf("it is on a disk of the machine (%s): each machine has its own files, and a task that starts on another machine does not find them", strings.Join(local, ", ")))
	}
	if len(root) > 0 {
		notes = append(notes, fmt.Sprintf("only root can write (%s): tasks whose image has another user cannot; to allow it, run on the server or the machine: chmod 1777 DIRECTORY", strings.Join(root, ", ")))
	}
	return notes
}

// problemsOf is an error if a machine cannot use a storage.
func problemsOf(checked []CheckedStorage) error {
	var bad []string
	for _, c := range checked {
		for _, m := range c.Machines {
			if !m.OK && !m.LeftOut {
				bad = append(bad, c.Storage+" on "+m.Machine)
			}
		}
	}
	if len(bad) == 0 {
		return nil
	}
	const shown = 5
	if rest := len(bad) - shown; rest > 0 {
		bad = append(bad[:shown], fmt.Sprintf("%d more", rest))
	}
	return pai.Errorf(pai.CodeFailed, "fix what the list says, then run the command again", "storages cannot be used: %s", strings.Join(bad, ", "))
}
