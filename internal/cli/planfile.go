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

// savePlan keeps a plan in a file, whole or not at all. It holds no secrets.
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
		return pai.Errorf(pai.CodeFailed, "name a file that can be written with --save", "save the plan: %w", err)
	}
	env.Progressf("The plan is in %s. Do exactly this with: paictl upgrade apply --plan %s", file, file)
	return nil
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
