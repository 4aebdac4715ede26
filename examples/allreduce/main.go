// Command allreduce adds up numbers over all tasks of a job, as distributed training adds
// up gradients: in a ring, over TCP. It finds the other tasks as torchrun, DeepSpeed, MPI,
// and Ray do, so that a job that runs it shows what those programs need:
//
//	allreduce --first HOST:PORT --rank R --size N   as torchrun and DeepSpeed
//	allreduce --hostfile FILE --rank R               as MPI: a line HOST:PORT for each rank
//	allreduce --head :PORT --size N                  as the head of Ray
//	allreduce --join HOST:PORT                       as a worker of Ray
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

type options struct {
	first, hostfile, head, join string
	rank, size                  int
	numbers, rounds             int
	timeout                     time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.first, "first", "", "address of the task with rank 0, which listens there")
	flag.StringVar(&o.hostfile, "hostfile", "", "file with the address of each task, in the order of their ranks")
	flag.StringVar(&o.head, "head", "", "address to listen on for tasks that join")
	flag.StringVar(&o.join, "join", "", "address of the head; it gives out ranks")
	flag.IntVar(&o.rank, "rank", 0, "number of this task, from 0")
	flag.IntVar(&o.size, "size", 0, "number of tasks")
	flag.IntVar(&o.numbers, "numbers", 1<<16, "how many numbers to add up")
	flag.IntVar(&o.rounds, "rounds", 10, "how often to add them up")
	flag.DurationVar(&o.timeout, "timeout", 5*time.Minute, "time for everything")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "allreduce:", err)
		os.Exit(1)
	}
}

// run meets the other tasks, adds up, and checks the sums.
func run(ctx context.Context, o options, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	g, err := meet(ctx, o)
	if err != nil {
		return err
	}
	r, err := g.ring(ctx)
	if err != nil {
		return fmt.Errorf("connect rank %d of %d to its neighbors: %w", g.rank, len(g.addresses), err)
	}
	defer r.close()
	start := time.Now()
	for round := range o.rounds {
		numbers := make([]float64, o.numbers)
		for i := range numbers {
			numbers[i] = float64((g.rank + 1) * (i%7 + 1))
		}
		if err := r.allReduce(numbers); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		n := len(g.addresses)
		for i, got := range numbers {
			if want := float64(n * (n + 1) / 2 * (i%7 + 1)); got != want {
				return fmt.Errorf("round %d: the sum at %d is %g, want %g", round, i, got, want)
			}
		}
	}
	fmt.Fprintf(out, "rank %d of %d: %d sums of %d numbers are right, in %s\n", g.rank, len(g.addresses), o.rounds, o.numbers, time.Since(start).Round(time.Millisecond))
	return nil
}
