package witness

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Line identifies a line of a container log without its content.
type Line struct {
	Time   time.Time `json:"time"`
	SHA256 string    `json:"sha256"`
}

const (
	outputTimeout  = 5 * time.Second // per container
	outputParallel = 8
	// outputLimit is how much of a log is searched for a line.
	outputLimit = 256 << 10
	// headLimit is how much of the start of a log is read.
	headLimit = 4 << 10
)

// noteOutput notes the last line of every container of a baseline. A container
// whose log cannot be read within startTimeout is watched without it.
func (w *Witness) noteOutput(ctx context.Context, b *Baseline) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	w.forEachLog(ctx, b.Jobs, "start", func(ctx context.Context, namespace string, c *WatchedContainer) error {
		tail := int64(1)
		text, err := w.log(ctx, namespace, c, corev1.PodLogOptions{TailLines: &tail})
		if line, ok := parseLine(lastLine(text)); ok && err == nil {
			c.Output = &line
		}
		return err
	})
}

// checkOutput searches the logs for the noted lines.
func (w *Witness) checkOutput(ctx context.Context, jobs []WatchedJob) {
	w.forEachLog(ctx, jobs, "end", func(ctx context.Context, namespace string, c *WatchedContainer) error {
		if c.Output == nil || c.Result != Running {
			return nil
		}
		lost, err := w.outputLost(ctx, namespace, c)
		if lost {
			w.ledger.recordLostOutput(c.ID, time.Now())
		}
		return err
	})
}

// forEachLog calls f for every container, a few in parallel, and notes errors.
func (w *Witness) forEachLog(ctx context.Context, jobs []WatchedJob, when string, f func(ctx context.Context, namespace string, c *WatchedContainer) error) {
	var group errgroup.Group
	group.SetLimit(outputParallel)
	for _, j := range jobs {
		for _, c := range j.Containers {
			group.Go(func() error {
				ctx, cancel := context.WithTimeout(ctx, outputTimeout)
				defer cancel()
				if err := f(ctx, j.Namespace, c); err != nil {
					w.note(fmt.Sprintf("log of %s/%s not read at the %s: %v", c.Pod, c.Name, when, err))
				}
				return nil
			})
		}
	}
	_ = group.Wait() // every error is noted
}

// outputLost reports whether the noted line is missing from a log that starts
// before it.
func (w *Witness) outputLost(ctx context.Context, namespace string, c *WatchedContainer) (bool, error) {
	since, limit, head := metav1.NewTime(c.Output.Time.Truncate(time.Second)), int64(outputLimit), int64(headLimit)
	text, err := w.log(ctx, namespace, c, corev1.PodLogOptions{SinceTime: &since, LimitBytes: &limit})
	if err != nil {
		return false, err
	}
	if contains(text, *c.Output) || len(text) >= outputLimit {
		return false, nil
	}
	start, err := w.log(ctx, namespace, c, corev1.PodLogOptions{LimitBytes: &head})
	return err == nil && startsBefore(start, *c.Output), err
}

// startsBefore reports whether a log starts at or before a line. A log that was
// rotated starts after the line, or is empty.
func startsBefore(log []byte, line Line) bool {
	if len(log) == 0 {
		return false
	}
	first, _, _ := bytes.Cut(log, []byte("\n"))
	start, ok := parseLine(first)
	return !ok || !start.Time.After(line.Time)
}

func (w *Witness) log(ctx context.Context, namespace string, c *WatchedContainer, o corev1.PodLogOptions) ([]byte, error) {
	o.Container, o.Timestamps = c.Name, true
	return w.core.CoreV1().Pods(namespace).GetLogs(c.Pod, &o).DoRaw(ctx)
}

// parseLine reads a line of a log with timestamps.
func parseLine(line []byte) (Line, bool) {
	stamp, _, _ := bytes.Cut(line, []byte(" "))
	at, err := time.Parse(time.RFC3339Nano, string(stamp))
	if err != nil {
		return Line{}, false
	}
	sum := sha256.Sum256(line)
	return Line{Time: at, SHA256: hex.EncodeToString(sum[:])}, true
}

func lastLine(text []byte) []byte {
	text = bytes.TrimRight(text, "\n")
	return text[bytes.LastIndexByte(text, '\n')+1:]
}

func contains(text []byte, want Line) bool {
	for line := range bytes.Lines(text) {
		if got, ok := parseLine(bytes.TrimRight(line, "\n")); ok && got.SHA256 == want.SHA256 {
			return true
		}
	}
	return false
}

func (w *Witness) note(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notes = append(w.notes, text)
}
