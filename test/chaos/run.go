package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Result is the result of all rounds of one fault.
type Result struct {
	Fault                                   string
	Times, Commands, Converged, Interrupted int
	Took                                    time.Duration
	Remarks                                 []string
}

// Unread stands for a file when ends are not compared but only kept.
const Unread = "-"

// Run puts each fault in as often as asked for. The undisturbed upgrade comes
// first, once for each number of machines that a fault needs; with a file, its
// end is read from there, or kept there. With a directory, the end of every round
// is kept in it.
func Run(ctx context.Context, c *Cluster, faults []Fault, rounds int, file, dir string) ([]Result, error) {
	c.ends = dir
	undisturbed, err := readStates(file)
	if err != nil {
		return nil, err
	}
	var results []Result
	for _, f := range faults {
		key := fmt.Sprintf("%d machines, without jobs: %q", max(f.Machines, 1), f.Idle)
		if undisturbed[key] == nil && file != Unread {
			result, end, err := c.rounds(ctx, Fault{Name: "none", Machines: f.Machines, Idle: f.Idle}, 1, nil)
			results = append(results, result)
			if err != nil {
				return results, err
			}
			undisturbed[key] = end
			if err := writeStates(file, undisturbed); err != nil {
				return results, err
			}
			if f.Name == "none" {
				continue
			}
		}
		result, _, err := c.rounds(ctx, f, rounds, undisturbed[key])
		results = append(results, result)
		if err != nil && ctx.Err() != nil {
			return results, err // a fault that could not be put in is a remark; the others still can
		}
	}
	return results, nil
}

func (c *Cluster) rounds(ctx context.Context, f Fault, times int, undisturbed State) (Result, State, error) {
	result := Result{Fault: f.Name}
	var end State
	for range times {
		r, err := c.Round(ctx, f, undisturbed)
		result.Times++
		result.Commands += r.Attempts
		result.Took += r.Took
		end = r.End
		if err := c.keepEnd(r); err != nil {
			return result, end, err
		}
		if err != nil {
			result.Remarks = append(result.Remarks, err.Error())
			return result, end, fmt.Errorf("fault %s: %w", f.Name, err)
		}
		if r.Converged() {
			result.Converged++
		}
		result.Interrupted += len(r.Interrupted)
		for _, list := range [][]string{r.Problems, r.Interrupted, r.Different} {
			result.Remarks = append(result.Remarks, list...)
			for _, line := range list {
				c.logf("    %s", line)
			}
		}
	}
	return result, end, nil
}

func readStates(file string) (map[string]State, error) {
	states := map[string]State{}
	if file == "" || file == Unread {
		return states, nil
	}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return states, nil
	}
	if err != nil {
		return nil, err
	}
	return states, json.Unmarshal(data, &states)
}

func writeStates(file string, states map[string]State) error {
	if file == "" {
		return nil
	}
	data, err := json.MarshalIndent(states, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o600)
}

// keepEnd writes the end of a round into the directory for that, if there is one.
func (c *Cluster) keepEnd(r Round) error {
	if c.ends == "" || r.End == nil {
		return nil
	}
	if err := os.MkdirAll(c.ends, 0o700); err != nil {
		return err
	}
	data, err := json.MarshalIndent(r.End, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(c.ends, r.Fault+".json"), data, 0o600)
}
