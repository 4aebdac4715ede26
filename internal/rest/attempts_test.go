package rest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/tasklog"
)

// podsOutput is a machine whose pods each wrote their name.
type podsOutput struct{}

func (podsOutput) Read(_ context.Context, _ string, r tasklog.Request) (io.ReadCloser, string, error) {
	return io.NopCloser(strings.NewReader("output of " + r.Pod)), "", nil
}

// The output of each attempt of a task can be read as long as its pod is there, the newest one
// if none is named. An attempt that is not there is an error that lists those that are.
func TestOutputOfEarlierAttempts(t *testing.T) {
	t.Parallel()
	w := newWhole(t, identity.Policy{}, "default")
	w.handler.Jobs.(*Core).WithOutput(podsOutput{})
	ada := w.user(t, "ada", false)
	s := w.memory.admitted(t, "ada", "train", 2)
	for try, phase := range []corev1.PodPhase{corev1.PodFailed, corev1.PodFailed, corev1.PodRunning} {
		w.memory.pod(t, s, "worker", 1, func(p *corev1.Pod) {
			p.Name = fmt.Sprintf("try-%d", try)
			p.CreationTimestamp.Time = s.Created.Add(time.Duration(try) * time.Minute)
			p.Annotations["batch.kubernetes.io/job-index-failure-count"] = fmt.Sprint(try)
			p.Status.Phase = phase
			if phase == corev1.PodRunning {
				p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: job.ContainerName, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
			}
		})
	}
	for _, c := range []struct {
		query  string
		status int
		want   string
	}{
		{"", 200, "output of try-2"},
		{"&attempt=", 200, "output of try-2"},
		{"&attempt=0", 200, "output of try-0"},
		{"&attempt=1", 200, "output of try-1"},
		{"&attempt=2", 200, "output of try-2"},
		{"&attempt=1&follow=true", 200, "output of try-1"},
		{"&attempt=3", 404, "task worker 1 of job ada~train has no attempt 3 in the cluster; there are: 0, 1, 2"},
		{"&attempt=-1", 400, "attempt=-1: want no negative number"},
		{"&attempt=newest", 400, "attempt=newest"},
		{"&attempt=0&attempt=1", 400, "parameter attempt more than once"},
	} {
		status, text := w.ask(t, http.MethodGet, "/api/v2/jobs/ada~train/logs?taskRole=worker&index=1"+c.query, ada, "")
		if status != c.status || !strings.Contains(text, c.want) {
			t.Errorf("%s: got %d %s, want %d %s", c.query, status, text, c.status, c.want)
		}
	}
	// The task without a pod has no attempt.
	if status, text := w.ask(t, http.MethodGet, "/api/v2/jobs/ada~train/logs?taskRole=worker&index=0&attempt=0", ada, ""); status != 404 || !strings.Contains(text, "there are none") {
		t.Errorf("got %d %s", status, text)
	}
}

// A client does not show the output of another attempt, which an older server sends.
func TestClientRefusesOutputOfAnotherAttempt(t *testing.T) {
	t.Parallel()
	for _, follow := range []bool{false, true} {
		s := &scripted{logs: func(context.Context, LogOptions) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader("a\n")), nil
		}}
		access, _ := start(t, s, 0)
		id, o := JobID{"alice", "train"}, LogOptions{Attempt: new(2), Follow: follow}
		stream, err := client(t, access).Logs(t.Context(), id, o)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(stream); err != nil || string(got) != "a\n" {
			t.Errorf("got %q, %v", got, err)
		}
		stream.Close()
		older := oldServer(t)
		if _, err := client(t, older).Logs(t.Context(), id, o); pai.CodeOf(err) != pai.CodeRefused || !strings.Contains(err.Error(), "older than this paictl") {
			t.Errorf("of an older server: %v", err)
		}
		o.Attempt = nil
		if stream, err = client(t, older).Logs(t.Context(), id, o); err != nil {
			t.Fatal(err)
		}
		stream.Close()
	}
}

// oldServer ignores parameters that it does not know.
func oldServer(t *testing.T) Access {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "newest\n") }))
	t.Cleanup(server.Close)
	return Access{URLs: []string{server.URL}, CA: pemOf(server.Certificate().Raw), User: "alice", Token: "alices"}
}

// A message lists a bounded number of attempts.
func TestAttemptsAreListed(t *testing.T) {
	t.Parallel()
	many := make([]int, 100)
	for i := range many {
		many[i] = i
	}
	for want, attempts := range map[string][]int{"there are none": nil, "there are: 0, 2": {0, 2}, "the newest are: 80, 81,": many} {
		if got := listed(attempts); !strings.HasPrefix(got, want) || len(got) > 120 {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
