package witness

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Line is a line that a container had printed: enough to know it again, and
// not what it says.
type Line struct {
	Time   time.Time `json:"time"`
	SHA256 string    `json:"sha256"`
}

const (
	outputTimeout  = 5 * time.Second
	outputParallel = 8
	// outputLimit is how much of a log is read to find one line again.
	outputLimit = 256 << 10
)

// markOutput notes the last line of every container of a baseline. One whose
// output cannot be read is watched without it.
func (w *Witness) markOutput(ctx context.Context, b *Baseline) {
	w.outputs(ctx, b.Jobs, func(ctx context.Context, namespace string, c *WatchedContainer) {
		tail := int64(1)
		text, err := w.log(ctx, namespace, c, corev1.PodLogOptions{TailLines: &tail})
		if err != nil {
			w.note(fmt.Sprintf("the output of %s/%s was not read at the start: %v", c.Pod, c.Name, err))
			return
		}
		if line, ok := parseLine(lastLine(text)); ok {
			c.Output = &line
		}
	})
}

// checkOutput looks for the noted lines again.
func (w *Witness) checkOutput(ctx context.Context, jobs []WatchedJob) {
	w.outputs(ctx, jobs, func(ctx context.Context, namespace string, c *WatchedContainer) {
		if c.Output == nil || c.Result != Running {
			return
		}
		broken, err := w.outputBroken(ctx, namespace, c)
		if err != nil {
			w.note(fmt.Sprintf("the output of %s/%s was not read at the end: %v", c.Pod, c.Name, err))
			return
		}
		if broken {
			w.ledger.sawOutputBreak(c.ID, time.Now())
		}
	})
}

// outputs does something for every container, a few at a time.
func (w *Witness) outputs(ctx context.Context, jobs []WatchedJob, f func(ctx context.Context, namespace string, c *WatchedContainer)) {
	slots := make(chan struct{}, outputParallel)
	var wg sync.WaitGroup
	for _, j := range jobs {
		for _, c := range j.Containers {
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				ctx, cancel := context.WithTimeout(ctx, outputTimeout)
				defer cancel()
				f(ctx, j.Namespace, c)
			})
		}
	}
	wg.Wait()
}

// outputBroken reports whether the noted line is gone from a log that goes
// back further than it. A log that has been rotated since says nothing.
func (w *Witness) outputBroken(ctx context.Context, namespace string, c *WatchedContainer) (bool, error) {
	since, limit, little := metav1.NewTime(c.Output.Time.Truncate(time.Second)), int64(outputLimit), int64(4<<10)
	text, err := w.log(ctx, namespace, c, corev1.PodLogOptions{SinceTime: &since, LimitBytes: &limit})
	if err != nil {
		return false, err
	}
	if holds(text, *c.Output) || len(text) >= outputLimit {
		return false, nil
	}
	head, err := w.log(ctx, namespace, c, corev1.PodLogOptions{LimitBytes: &little})
	if err != nil {
		return false, err
	}
	first, _, _ := bytes.Cut(head, []byte("\n"))
	line, ok := parseLine(first)
	return !ok || !line.Time.After(c.Output.Time), nil
}

func (w *Witness) log(ctx context.Context, namespace string, c *WatchedContainer, o corev1.PodLogOptions) ([]byte, error) {
	o.Container, o.Timestamps = c.Name, true
	return w.core.CoreV1().Pods(namespace).GetLogs(c.Pod, &o).DoRaw(ctx)
}

// parseLine reads a line of a log with time stamps.
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

func holds(text []byte, want Line) bool {
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
