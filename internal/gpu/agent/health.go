package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"pai.dev/pai/internal/atomicfile"
	"pai.dev/pai/internal/gpu"
)

// history is what happened to a GPU since the machine booted. It outlives the agent:
// the driver reports an error once.
type history struct {
	Xids   map[uint64]uint64 `json:"xids,omitempty"`   // how often each occurred
	Reason string            `json:"reason,omitempty"` // why it is unhealthy
}

// health has the history of each GPU, by UUID.
type health map[string]history

func readHealth(path string) (health, error) {
	known := health{}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return known, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &known)
	}
	if err != nil {
		return health{}, fmt.Errorf("read %s: %w", path, err)
	}
	return known, nil
}

func (h health) add(uuid string, xid uint64, broken bool) {
	of := h[uuid]
	if of.Xids == nil {
		of.Xids = map[uint64]uint64{}
	}
	of.Xids[xid]++
	if broken && of.Reason == "" {
		of.Reason = gpu.DescribeXid(xid)
	}
	h[uuid] = of
}

func (h health) write(path string) error { return writeJSON(path, h) }

// Status is what the agent does now, for the step that replaces it and for people.
type Status struct {
	PID        int            `json:"pid"`
	Registered bool           `json:"registered"` // the kubelet knows the GPUs
	Driver     string         `json:"driver,omitempty"`
	Problem    string         `json:"problem,omitempty"` // why no GPU is offered
	GPUs       []StatusDevice `json:"gpus"`
}

// StatusDevice is one GPU.
type StatusDevice struct {
	UUID    string `json:"uuid"`
	Name    string `json:"name"`
	Healthy bool   `json:"healthy"`
	Reason  string `json:"reason,omitempty"` // why it is unhealthy
}

func (a *agent) writeStatus() {
	s := Status{PID: os.Getpid(), Registered: a.registered.Load(), Driver: a.driver, Problem: a.problem, GPUs: []StatusDevice{}}
	for _, d := range a.gpus {
		reason := a.reason(d.UUID)
		s.GPUs = append(s.GPUs, StatusDevice{UUID: d.UUID, Name: d.Name, Healthy: reason == "", Reason: reason})
	}
	if err := writeJSON(a.StatusFile, s); err != nil {
		a.Log.Error("write the status", "error", err)
	}
}

func writeJSON(path string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := atomicfile.Write(path, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", path, err)
	}
	return nil
}
