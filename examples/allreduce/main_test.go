package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pai.dev/pai/test/freeport"
)

// Tasks that find one another in each of the ways add up to the same.
func TestTasksAddUp(t *testing.T) {
	t.Parallel()
	const size = 3
	for name, of := range map[string]func(t *testing.T, rank int, addresses []string) options{
		"first": func(_ *testing.T, rank int, a []string) options {
			return options{first: a[0], rank: rank, size: size}
		},
		"hostfile": func(t *testing.T, rank int, a []string) options {
			file := filepath.Join(t.TempDir(), fmt.Sprint(rank))
			if err := os.WriteFile(file, []byte(strings.Join(a, "\n")), 0o600); err != nil {
				t.Fatal(err)
			}
			return options{hostfile: file, rank: rank}
		},
		"head": func(_ *testing.T, rank int, a []string) options {
			if rank == 0 {
				return options{head: a[0], size: size}
			}
			return options{join: a[0]}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addresses := make([]string, size)
			for i := range addresses {
				addresses[i] = fmt.Sprintf("127.0.0.1:%d", freeport.Get(t))
			}
			var wait sync.WaitGroup
			for rank := range size {
				o := of(t, rank, addresses)
				o.numbers, o.rounds, o.timeout = 1000, 3, time.Minute
				wait.Go(func() {
					var out bytes.Buffer
					if err := run(t.Context(), o, &out); err != nil || !strings.Contains(out.String(), "of 3: 3 sums of 1000 numbers are right") {
						t.Errorf("rank %d: %v %s", rank, err, out.String())
					}
				})
			}
			wait.Wait()
		})
	}
}

func TestTaskWithoutOthersFails(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	for _, o := range []options{{join: "127.0.0.1:1"}, {head: "127.0.0.1:0", size: 2}, {}, {hostfile: "/nonexistent"}} {
		o.timeout = time.Second
		if err := run(ctx, o, &bytes.Buffer{}); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
}
