package cluster

import (
	"context"
	"strings"

	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/plan"
)

// removeFunctions are the functions of scripts/remove.sh for a step.
func removeFunctions(s plan.Step) (string, error) {
	functions, err := embedded.ReadFile("scripts/remove.sh")
	return "keep=" + machine.Quote(strings.Join(s.Keep, "\n")) + "\n" + string(functions), err
}

// RemoveDirectory deletes a directory and its content. If the directory is a mount
// point or a link to a directory with the same name, it stays, empty.
func RemoveDirectory(ctx context.Context, h machine.Host, dir string) error {
	functions, err := removeFunctions(plan.Step{})
	if err != nil {
		return err
	}
	remove := "remove " + machine.Quote(dir)
	_, err = sh(ctx, h, "%s", "# "+remove+"\n"+functions+remove) // errors and logs have the first line
	return err
}

// DirectoryRemoved reports whether RemoveDirectory has nothing left to delete.
func DirectoryRemoved(ctx context.Context, h machine.Host, dir string) (bool, error) {
	functions, err := removeFunctions(plan.Step{})
	if err != nil {
		return false, err
	}
	out, err := sh(ctx, h, "%s", functions+"dir="+machine.Quote(dir)+"\nremoved \"$dir\" || [ ! -e \"$dir\" ] || echo there")
	return out == "", err
}
