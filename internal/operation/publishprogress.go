package operation

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
)

const (
	// progressEvery is how often the progress of an operation is published if it changed,
	// progressAtLeast if it did not: readers show its age.
	progressEvery   = 3 * time.Second
	progressAtLeast = 15 * time.Second
	// progressTimeout bounds one publication.
	progressTimeout = 3 * time.Second
)

// progressPublisher publishes the progress of an operation while it runs. It is not what
// the operator asked for: nothing waits for it, and its errors are only logged.
type progressPublisher struct {
	read  func() pai.PublishedProgress
	write func(ctx context.Context, p pai.PublishedProgress) error
	logf  func(format string, args ...any)
	every time.Duration

	last    string // what was written, without its time
	written time.Time
}

// publishProgress publishes until the returned function is called, which publishes the
// outcome.
func (x *execution) publishProgress(ctx context.Context) (stop func()) {
	p := &progressPublisher{
		read: func() pai.PublishedProgress { return progressOf(x.entry.Operation(), x.watch.status()) },
		write: func(ctx context.Context, p pai.PublishedProgress) error {
			client, err := x.Kube(ctx)
			if err != nil {
				return err
			}
			return writeProgress(ctx, client.WithRetryTimeout(progressTimeout), p)
		},
		logf:  func(format string, args ...any) { x.log.Info(fmt.Sprintf(format, args...)) },
		every: progressEvery,
	}
	return p.start(ctx)
}

func (p *progressPublisher) start(ctx context.Context) (stop func()) {
	ctx = context.WithoutCancel(ctx) // the outcome of an interrupted operation is published, too
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(p.every)
		defer ticker.Stop()
		for {
			p.publish(ctx)
			select {
			case <-ticker.C:
			case <-ended:
				p.publish(ctx)
				return
			}
		}
	}()
	return func() { close(ended); <-done }
}

// publish writes the progress if it changed, or if readers would think that it is old.
func (p *progressPublisher) publish(ctx context.Context) {
	now := p.read()
	now.Updated = time.Time{}
	text, err := json.Marshal(now)
	if err == nil && string(text) == p.last && time.Since(p.written) < progressAtLeast {
		return
	}
	ctx, cancel := context.WithTimeoutCause(ctx, progressTimeout, fmt.Errorf("not done within %s", progressTimeout))
	defer cancel()
	now.Updated = time.Now().UTC()
	if err == nil {
		err = p.write(ctx, now)
	}
	if err != nil {
		p.logf("could not publish the progress of the operation: %v", err)
		return
	}
	p.last, p.written = string(text), now.Updated
}

// progressOf is the progress of an operation with what the witness observes.
func progressOf(o pai.Operation, w WitnessStatus) pai.PublishedProgress {
	p := o.Progress()
	ends := pai.JobsReport{Failed: w.Failed, Interrupted: w.Interrupted, Unknown: w.Unknown}
	p.Jobs = pai.ProgressJobs{Before: w.Jobs, Running: w.Running, Finished: w.Finished}
	p.Jobs.Failed, p.Jobs.Interrupted, p.Jobs.Unknown = ends.Ended()
	p.OutageSince, p.OutageSeconds = w.OutageSince, w.OutageSeconds
	return p
}

func writeProgress(ctx context.Context, client *kube.Client, p pai.PublishedProgress) error {
	data, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode the progress of operation %s: %w", p.ID, err)
	}
	_, err = client.Apply(ctx, []*unstructured.Unstructured{{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": pai.ProgressName, "namespace": pai.SystemNamespace},
		"data":     map[string]any{pai.ProgressKey: string(data)},
	}}}, kube.ApplyOptions{})
	return err
}
