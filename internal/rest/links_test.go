package rest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

// linked submits a job of ada whose task runs, and returns a link to its output.
func (w *whole) linked(t *testing.T, token string) (s job.Status, uri string) {
	t.Helper()
	w.ask(t, http.MethodPost, "/rest-server/api/v2/jobs", token, fmt.Sprintf(someJob, "train"))
	s, err := w.handler.Jobs.Get(t.Context(), JobID{"ada", "train"})
	if err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "pod", Namespace: s.Namespace, UID: "uid", Labels: map[string]string{pai.LabelJob: s.Object, pai.LabelUser: "ada"},
		Annotations: map[string]string{job.AnnotationTaskRole: "worker", "batch.kubernetes.io/job-completion-index": "0"}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.7", ContainerStatuses: []corev1.ContainerStatus{{Name: job.ContainerName, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}}}
	if _, err := w.memory.clientset.CoreV1().Pods(s.Namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	type locations struct{ Locations []struct{ Name, URI string } }
	logs := answer[locations](t, w, http.MethodGet, "/rest-server/api/v2/jobs/ada~train/attempts/0/taskRoles/worker/taskIndex/0/attempts/0/logs?tail-mode=true", token, "")
	if len(logs.Locations) == 0 || strings.Contains(logs.Locations[0].URI, token) {
		t.Fatalf("got %+v", logs)
	}
	return s, logs.Locations[0].URI
}

// stalled is a JobAPI whose output ends with its request, or after a minute, so that a test
// which waits for the end of a request fails without it.
type stalled struct{ JobAPI }

func (stalled) Logs(ctx context.Context, _ JobID, _ LogOptions) (io.ReadCloser, error) {
	r, w := io.Pipe()
	late := time.AfterFunc(time.Minute, func() { w.Close() })
	context.AfterFunc(ctx, func() { late.Stop(); w.CloseWithError(ctx.Err()) })
	return r, nil
}

// Who has a link takes nothing from its user, whatever they do with it.
func TestLinksTakeNoRequestsOfTheirUser(t *testing.T) {
	t.Parallel()
	w := newWhole(t, identity.Policy{}, "default")
	ada := w.user(t, "ada", false)
	_, uri := w.linked(t, ada)
	w.handler.Jobs = stalled{w.handler.Jobs}
	for range maxLinks {
		resp := w.do(t, http.MethodGet, uri, "", "")
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("got %s", resp.Status)
		}
	}
	for range 2 * requestBurst {
		if status, text := w.ask(t, http.MethodGet, uri, "", ""); status != http.StatusTooManyRequests {
			t.Fatalf("one more: %d %s", status, text)
		}
	}
	for range maxRequests + 1 {
		if status, text := w.ask(t, http.MethodGet, "/api/v2/jobs", ada, ""); status != http.StatusOK {
			t.Fatalf("the user of the link: %d %s", status, text)
		}
	}
}

func TestLinksTakeNoRateOfTheirUser(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c callers
		enter := func(enter func() (func(), error)) int {
			for n := 0; ; n++ {
				done, err := enter()
				if err != nil {
					return n
				}
				done()
			}
		}
		links := enter(func() (func(), error) { return c.enterLink("ada") })
		own := enter(func() (func(), error) { return c.enter("ada", false) })
		if links != requestBurst || own != requestBurst {
			t.Errorf("%d requests with links and %d others were let in, want %d of each", links, own, requestBurst)
		}
	})
}

// Output that a link leads to is cut off once the user of the link has lost the right.
func TestLinkEndsWithTheRightOfItsUser(t *testing.T) {
	t.Parallel()
	w := newWhole(t, identity.Policy{}, "default")
	ada := w.user(t, "ada", false)
	_, uri := w.linked(t, ada)
	w.handler.Jobs = stalled{w.handler.Jobs}
	resp := w.do(t, http.MethodGet, uri, "", "")
	defer resp.Body.Close()
	if err := w.accounts.Delete(t.Context(), "ada"); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %s, %q, %v", resp.Status, text, err)
	}
}
