package isolate

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// commandTimeout limits a command of nft or systemctl.
const commandTimeout = 20 * time.Second

// run runs a command with an input and returns its output.
func run(ctx context.Context, input, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(input)
	cmd.WaitDelay = time.Second
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %.500s", name, strings.Join(args, " "), err, errs.String())
	}
	return out.String(), nil
}

// tables are the tables that exist.
func tables(ctx context.Context) (map[string]bool, error) {
	out, err := run(ctx, "", "nft", "list", "tables")
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for line := range strings.Lines(out) {
		found[strings.TrimPrefix(strings.TrimSpace(line), "table ")] = true
	}
	return found, nil
}

// listing is how nft shows the rules.
func listing(ctx context.Context) (string, error) {
	var all strings.Builder
	for _, table := range []string{hostTable, bridgeTable} {
		out, err := run(ctx, "", "nft", append([]string{"-n", "list", "table"}, strings.Fields(table)...)...)
		if err != nil {
			return "", err
		}
		all.WriteString(out)
	}
	return all.String(), nil
}
