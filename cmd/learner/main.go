// Command learner is the program of an example job: it trains a small neural network on a data
// set, prints how the loss falls, and keeps checkpoints. A run that continues from a
// checkpoint computes what a single run computes.
//
//	learner data FILE    makes a data set, unless the file exists
//	learner train        trains on it
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "learner:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	switch {
	case len(args) == 2 && args[0] == "data":
		return makeData(args[1], out)
	case len(args) > 0 && args[0] == "train":
		o, err := parse(args[1:])
		if err != nil {
			return err
		}
		return train(ctx, o, out)
	}
	return errors.New("usage: learner data FILE, or learner train --data FILE --checkpoint FILE --steps N")
}

// madeRows is the size of the data set that `learner data` makes.
const madeRows = 2000

func makeData(file string, out io.Writer) error {
	_, err := os.Stat(file)
	if err == nil {
		fmt.Fprintf(out, "%s exists\n", file)
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := writeData(file, moons(madeRows)); err != nil {
		return err
	}
	fmt.Fprintf(out, "wrote %d rows to %s\n", madeRows, file)
	return nil
}

// options are those of a training.
type options struct {
	data, checkpoint string
	steps            int           // of all runs together
	every            int           // steps from one checkpoint to the next
	interval         time.Duration // the shortest time of a step
}

func parse(args []string) (o options, err error) {
	flags := flag.NewFlagSet("train", flag.ContinueOnError)
	flags.StringVar(&o.data, "data", "", "file of the data set: lines of x,y,class")
	flags.StringVar(&o.checkpoint, "checkpoint", "", "file to keep the model in, and to continue from")
	flags.IntVar(&o.steps, "steps", 1000, "steps of all runs together")
	flags.IntVar(&o.every, "every", 50, "steps from one checkpoint to the next")
	flags.DurationVar(&o.interval, "interval", 0, "shortest time of a step")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 || o.data == "" || o.checkpoint == "" || o.steps < 1 || o.every < 1 || o.interval < 0 {
		return o, errors.New("name --data and --checkpoint, and no arguments; --steps and --every must be 1 or more")
	}
	return o, nil
}

// train runs the steps that are missing. A run that is stopped keeps its last step and ends with
// success.
func train(ctx context.Context, o options, out io.Writer) error {
	rows, err := readData(o.data)
	if err != nil {
		return err
	}
	s, err := load(o.checkpoint)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d rows of %s, from step %d\n", len(rows), o.data, s.Step)
	for s.Step < o.steps && ctx.Err() == nil {
		s.learn(rows)
		if s.Step%o.every == 0 || s.Step == o.steps {
			if err := s.save(o.checkpoint); err != nil {
				return err
			}
			loss, accuracy := s.Model.quality(rows)
			fmt.Fprintf(out, "step %d loss %.4f accuracy %.3f\n", s.Step, loss, accuracy)
		}
		select {
		case <-ctx.Done():
		case <-time.After(o.interval):
		}
	}
	if s.Step < o.steps {
		fmt.Fprintf(out, "stopped at step %d\n", s.Step)
	} else {
		fmt.Fprintf(out, "done after %d steps\n", s.Step)
	}
	return s.save(o.checkpoint)
}
