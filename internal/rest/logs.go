package rest

import (
	"context"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/poll"
)

// startPoll is the pause between two looks at a followed task that has not started.
const startPoll = time.Second

// Logs implements JobAPI. A followed stream ends with io.ErrUnexpectedEOF if it
// breaks while the task still runs.
func (c *Core) Logs(ctx context.Context, id JobID, o LogOptions) (io.ReadCloser, error) {
	task, namespace, err := c.task(ctx, id, o)
	if err != nil {
		return nil, err
	}
	options := &corev1.PodLogOptions{Container: job.ContainerName, Follow: o.Follow, Timestamps: o.Timestamps}
	if o.Tail > 0 {
		options.TailLines = &o.Tail
	}
	if !o.Since.IsZero() {
		options.SinceTime = &metav1.Time{Time: o.Since}
	}
	stream, err := reading(ctx, func(ctx context.Context) (io.ReadCloser, error) {
		stream, err := c.cluster.Clientset().CoreV1().Pods(namespace).GetLogs(task.Pod, options).Stream(ctx)
		if err != nil {
			err = apiError("read the output of the task", err)
		}
		return stream, err
	})
	if err != nil {
		return nil, err
	}
	if !o.Follow {
		return stream, nil
	}
	return &followed{ReadCloser: stream, ended: func() bool {
		again, err := c.lookUp(ctx, id, o)
		return err == nil && (again.task.Pod != task.Pod || again.task.State != job.StateRunning)
	}}, nil
}

// followed turns the end of a stream into an error unless the task has ended.
type followed struct {
	io.ReadCloser
	ended func() bool
}

func (f *followed) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(p)
	if err == io.EOF && !f.ended() {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// task returns a task that has output. It waits for a followed task.
func (c *Core) task(ctx context.Context, id JobID, o LogOptions) (job.TaskStatus, string, error) {
	for {
		found, err := c.lookUp(ctx, id, o)
		if err != nil {
			return job.TaskStatus{}, "", err
		}
		t := found.task
		switch {
		case t.Pod != "" && t.State != job.StateWaiting:
			return t, found.status.Namespace, nil
		case found.status.State.Ended():
			return t, "", pai.Errorf(pai.CodeNotFound, "", "the output of task %s %d of job %s was deleted with its pod when the job ended", found.role, t.Index, id)
		case !o.Follow:
			return t, "", pai.Errorf(pai.CodeRefused, "follow the output; run: paictl job logs -f "+id.String(),
				"task %s %d of job %s has not started yet: %s", found.role, t.Index, id, firstOf(t.Message, found.status.Message, "it is waiting"))
		}
		if err := poll.Sleep(ctx, startPoll); err != nil {
			return t, "", err
		}
	}
}

type found struct {
	status job.Status
	role   string
	task   job.TaskStatus
}

func (c *Core) lookUp(ctx context.Context, id JobID, o LogOptions) (found, error) {
	status, err := c.Get(ctx, id)
	if err != nil {
		return found{}, err
	}
	for _, role := range status.TaskRoles {
		if o.TaskRole != "" && o.TaskRole != role.Name {
			continue
		}
		if o.Index < 0 || o.Index >= len(role.Tasks) {
			return found{}, taskNotFound(id, role.Name, o.Index)
		}
		return found{status, role.Name, role.Tasks[o.Index]}, nil
	}
	return found{}, taskNotFound(id, o.TaskRole, o.Index)
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
