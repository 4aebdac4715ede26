package cluster

import (
	"context"
	"io/fs"
	"maps"
	"path"
	"slices"

	"pai.dev/pai/internal/machine"
)

// fakeHost is a machine with files, whose scripts are answered by run.
type fakeHost struct {
	machine.Host
	files   map[string]string
	run     func(script string) (string, error)
	scripts []string
}

func (h *fakeHost) Name() string { return "pai-1" }

func (h *fakeHost) Run(_ context.Context, c machine.Command) (machine.Output, error) {
	h.scripts = append(h.scripts, c.Script)
	if h.run == nil {
		return machine.Output{}, nil
	}
	out, err := h.run(c.Script)
	return machine.Output{Stdout: out}, err
}

func (h *fakeHost) ReadFile(_ context.Context, name string) ([]byte, error) {
	if data, found := h.files[name]; found {
		return []byte(data), nil
	}
	return nil, fs.ErrNotExist
}

func (h *fakeHost) WriteFile(_ context.Context, name string, data []byte, _ fs.FileMode) error {
	h.files[name] = string(data)
	return nil
}

func (h *fakeHost) ReadDir(_ context.Context, dir string) ([]string, error) {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(h.files)) {
		if path.Dir(name) == dir {
			names = append(names, path.Base(name))
		}
	}
	if len(names) == 0 {
		return nil, fs.ErrNotExist
	}
	return names, nil
}
