package rest

import (
	"context"
	"errors"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/poll"
	"pai.dev/pai/internal/tasklog"
)

// startPoll is the pause between two looks at a followed task that has not started.
const startPoll = time.Second

// startWait is how long a request waits for a followed task to start. Clients, and the time
// limits of servers, end a request without an answer, so the client has to ask again.
const startWait = 20 * time.Second

// MachineOutput reads what a machine keeps of the output of a task. The API server itself
// has only the newest file.
type MachineOutput interface {
	// Read returns the output as it is now, and what is missing before it, in words. The
	// error is tasklog.ErrGone if the machine has none.
	Read(ctx context.Context, machine string, r tasklog.Request) (output io.ReadCloser, missing string, err error)
}

// WithOutput returns a Core that reads the output of tasks from machines.
func (c *Core) WithOutput(output MachineOutput) *Core {
	c.output = output
	return c
}

// Logs implements JobAPI. A followed stream ends with io.ErrUnexpectedEOF if it
// breaks while the task still runs.
func (c *Core) Logs(ctx context.Context, id JobID, o LogOptions) (io.ReadCloser, error) {
	task, namespace, err := c.task(ctx, id, o)
	if err != nil {
		return nil, err
	}
	t := taskOutput{machine: task.Machine, output: c.output, ended: task.State.Ended(), request: tasklog.Request{
		Namespace: namespace, Pod: task.Pod, Container: job.ContainerName, Tail: o.Tail, Since: o.Since, Timestamps: o.Timestamps}}
	t.newest = func(ctx context.Context, o LogOptions) (io.ReadCloser, error) {
		return c.newest(ctx, namespace, task.Pod, o)
	}
	if !o.Follow {
		return t.whole(ctx, o)
	}
	return t.follow(ctx, o, func() bool {
		again, err := c.lookUp(ctx, id, o)
		return err == nil && (again.task.Pod != task.Pod || again.task.State != job.StateRunning)
	})
}

// taskOutput reads the output of one task.
type taskOutput struct {
	machine string
	output  MachineOutput
	// ended is whether the task had ended when it was looked up, so that no output follows.
	ended bool
	// newest returns what the API server has: the newest file, and what is written later.
	newest  func(ctx context.Context, o LogOptions) (io.ReadCloser, error)
	request tasklog.Request
}

// kept returns what the machine keeps. If that cannot be read, the caller learns that
// older output is missing.
func (t taskOutput) kept(ctx context.Context, o LogOptions, r tasklog.Request) (io.ReadCloser, error) {
	if t.output == nil {
		return nil, errNoMachineOutput
	}
	stream, missing, err := t.output.Read(ctx, t.machine, r)
	if t.wasDeleted(err) {
		return nil, pai.Errorf(pai.CodeNotFound, "", "%w: it wrote none, or it was evicted, which deletes its output", err)
	}
	if err != nil {
		missing = "older output might be missing: only the newest file of the task could be read"
		if o.Unread != nil {
			o.Unread(err)
		}
	}
	if missing != "" && o.Missing != nil {
		o.Missing(missing)
	}
	return stream, err
}

// whole returns what the machine keeps, or what the API server has of it.
func (t taskOutput) whole(ctx context.Context, o LogOptions) (io.ReadCloser, error) {
	stream, err := t.kept(ctx, o, t.request)
	if err != nil && !t.wasDeleted(err) {
		return t.newest(ctx, o)
	}
	return stream, err
}

// wasDeleted reports whether there is no output any more. The API server would answer with the
// words of the kubelet in place of output.
func (t taskOutput) wasDeleted(err error) bool { return t.ended && errors.Is(err, tasklog.ErrGone) }

// errNoMachineOutput is the error of a Core without MachineOutput.
var errNoMachineOutput = errors.New("the output is not read from machines")

func (c *Core) newest(ctx context.Context, namespace, pod string, o LogOptions) (io.ReadCloser, error) {
	options := &corev1.PodLogOptions{Container: job.ContainerName, Follow: o.Follow, Timestamps: o.Timestamps}
	if o.Tail > 0 {
		options.TailLines = &o.Tail
	}
	if !o.Since.IsZero() {
		options.SinceTime = &metav1.Time{Time: o.Since}
	}
	return reading(ctx, func(ctx context.Context) (io.ReadCloser, error) {
		stream, err := c.cluster.Clientset().CoreV1().Pods(namespace).GetLogs(pod, options).Stream(ctx)
		if err != nil {
			err = apiError("read the output of the task", err)
		}
		return stream, err
	})
}

// follow returns what the machine keeps and what the task writes until it has ended.
func (t taskOutput) follow(ctx context.Context, o LogOptions, ended func() bool) (io.ReadCloser, error) {
	r := t.request
	r.Timestamps, r.WholeLines = true, true
	first, err := t.kept(ctx, o, r)
	if t.wasDeleted(err) {
		return nil, err
	}
	if err != nil {
		stream, err := t.newest(ctx, o)
		if err != nil {
			return nil, err
		}
		return &followed{ReadCloser: stream, ended: ended}, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	out, in := io.Pipe()
	go func() {
		defer cancel()
		err := t.joined(ctx, first, o, in)
		if err == nil && !ended() {
			err = io.ErrUnexpectedEOF
		}
		in.CloseWithError(err)
	}()
	return followReader{out, cancel}, nil
}

// joined writes what the machine keeps, and then what the API server follows. A rotation
// between the two would leave a gap, so the machine is read again after the API server
// follows. The times of lines show which were written.
func (t taskOutput) joined(ctx context.Context, kept io.ReadCloser, o LogOptions, w io.Writer) error {
	f := &follower{timestamps: o.Timestamps}
	err := f.pass(kept, w)
	kept.Close()
	if err != nil {
		return err
	}
	o.Timestamps = true
	o.Missing = func(what string) { _, _ = io.WriteString(w, tasklog.Notice(what)) } // the next write fails, too
	r := t.request
	r.Timestamps, r.WholeLines = true, true
	if !f.last.IsZero() {
		o.Since, o.Tail = f.last, 0
		r.Since, r.Tail = f.last, 0
	}
	stream, err := t.newest(ctx, o)
	if err != nil {
		return err
	}
	defer stream.Close()
	again, err := t.kept(ctx, o, r)
	if err != nil {
		return err
	}
	err = f.pass(again, w)
	again.Close()
	if err == nil {
		err = f.pass(stream, w)
	}
	return err
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

// task returns a task that has output. It waits for a followed task, for some time.
func (c *Core) task(ctx context.Context, id JobID, o LogOptions) (job.TaskStatus, string, error) {
	for start := time.Now(); ; {
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
				"task %s %d of job %s has not started yet: %s", found.role, t.Index, id, c.whyWaits(ctx, found))
		case time.Since(start) >= startWait:
			return t, "", errNotStarted.because("task %s %d of job %s: %s", found.role, t.Index, id, c.whyWaits(ctx, found))
		}
		if err := poll.Sleep(ctx, startPoll); err != nil {
			return t, "", err
		}
	}
}

type found struct {
	observed
	role string
	task job.TaskStatus
}

// lookUp finds a task, or an attempt of it. It is asked again and again while a task waits, so it
// explains nothing.
func (c *Core) lookUp(ctx context.Context, id JobID, o LogOptions) (found, error) {
	seen, err := c.observed(ctx, id)
	if err != nil {
		return found{}, err
	}
	for _, role := range seen.status.TaskRoles {
		if o.TaskRole != "" && o.TaskRole != role.Name {
			continue
		}
		if o.Index < 0 || o.Index >= len(role.Tasks) {
			return found{}, taskNotFound(id, role.Name, o.Index)
		}
		f := found{seen, role.Name, role.Tasks[o.Index]}
		if o.Attempt != nil {
			f.task, err = c.taskAttempt(ctx, id, f, *o.Attempt)
		}
		return f, err
	}
	return found{}, taskNotFound(id, o.TaskRole, o.Index)
}

// whyWaits is why a task waits, or its job.
func (c *Core) whyWaits(ctx context.Context, f found) string {
	s := f.status
	s.TaskRoles = []job.TaskRoleStatus{{Name: f.role, Tasks: []job.TaskStatus{f.task}}}
	c.explain(ctx, f.set, &s)
	return firstOf(s.TaskRoles[0].Tasks[0].Message, s.Message, "it is waiting")
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
