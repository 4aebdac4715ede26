package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"pai.dev/pai/internal/atomicfile"
	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/session"
)

// savePlan writes a plan to a file. The plan holds no secrets.
func savePlan(env *Env, s *session.Session, target plan.Target, p operation.Preview, file string) error {
	saved, err := operation.Saved(s, target, p)
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(saved, "", "  ")
	if err != nil {
		return fmt.Errorf("save the plan: %w", err)
	}
	if err := atomicfile.Write(file, append(data, '\n'), 0o644); err != nil {
		return pai.Errorf(pai.CodeFailed, "pass a writable file to --save", "save the plan: %w", err)
	}
	env.Progressf("Saved the plan to %s. To apply it, run: paictl upgrade apply --plan %s", file, file)
	return nil
}

// loadPlan reads a plan that savePlan wrote.
func loadPlan(file string) (plan.Saved, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return plan.Saved{}, pai.Errorf(pai.CodeUsage, "save the plan first, run: paictl upgrade plan --save "+file, "file %s not found", file)
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
