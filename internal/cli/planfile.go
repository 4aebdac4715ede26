package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/upgrade"
)

// savePlan keeps a plan in a file, whole or not at all. It holds no secrets.
func savePlan(env *Env, s *upgrade.Session, target plan.Target, p upgrade.Preview, file string) error {
	saved, err := s.Saved(target, p)
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(saved, "", "  ")
	if err != nil {
		return fmt.Errorf("save the plan: %w", err)
	}
	if err := writeWhole(file, append(data, '\n')); err != nil {
		return pai.Errorf(pai.CodeFailed, "name a file that can be written with --save", "save the plan: %w", err)
	}
	env.Progressf("The plan is in %s. Do exactly this with: paictl upgrade apply --plan %s", file, file)
	return nil
}

// writeWhole writes a file so that nobody ever sees half of it.
func writeWhole(file string, data []byte) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // is gone after the rename
	_, err = tmp.Write(data)
	if err := errors.Join(err, tmp.Chmod(0o644), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), file)
}

// loadPlan reads a plan that savePlan kept.
func loadPlan(file string) (plan.Saved, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return plan.Saved{}, pai.Errorf(pai.CodeUsage, "make it with: paictl upgrade plan --save "+file, "there is no file %s", file)
	}
	if err != nil {
		return plan.Saved{}, fmt.Errorf("read the plan: %w", err)
	}
	saved, err := plan.ParseSaved(data)
	if err != nil {
		return saved, fmt.Errorf("%s: %w", file, err)
	}
	return saved, nil
}
