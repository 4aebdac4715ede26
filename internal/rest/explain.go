package rest

import (
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"

	"pai.dev/pai/internal/job"
)

const (
	// maxExplained is how many tasks that wait are explained with events, and how many task
	// roles: each is a request, and the others often wait for the same.
	maxExplained = 3
	// explainTimeout is how long an answer waits for an explanation. It says less without it.
	explainTimeout = 6 * time.Second
	// maxTaskEvents is how many events of a task are read.
	maxTaskEvents = 100
)

// explain adds why a job waits, as far as that is not in its own objects. An error costs an
// explanation, and not the answer.
func (c *Core) explain(ctx context.Context, obj *unstructured.Unstructured, s *job.Status) {
	ctx, cancel := context.WithTimeout(ctx, explainTimeout)
	defer cancel()
	switch {
	case s.State == job.StateWaiting && suspended(obj):
		s.Message = firstOf(c.whyQueued(ctx, obj), s.Message)
	case s.State == job.StateWaiting || s.State == job.StateRunning:
		c.explainTasks(ctx, s)
		if s.State == job.StateWaiting {
			s.Message = firstOf(s.WhyWaiting(), s.Message)
		}
	}
}

// explainTasks says of the first tasks that wait what Kubernetes reports about their pods, and
// of the first task of a role without a pod why none is created.
func (c *Core) explainTasks(ctx context.Context, s *job.Status) {
	pods, roles := 0, 0
	for _, role := range s.TaskRoles {
		refused := false // a task of this role is explained
		for i := range role.Tasks {
			t := &role.Tasks[i]
			switch {
			case t.State != job.StateWaiting:
			case t.Pod != "" && pods < maxExplained:
				pods++
				said := c.eventsAbout(ctx, s.Namespace, fields.Set{"involvedObject.kind": "Pod", "involvedObject.name": t.Pod, "involvedObject.uid": t.PodUID})
				t.Message = job.Waits(*t, said)
			case t.Pod == "" && !refused && roles < maxExplained:
				refused = true
				roles++
				said := c.eventsAbout(ctx, s.Namespace, fields.Set{"involvedObject.kind": "Job", "involvedObject.name": job.ObjectOfRole(*s, role.Name)})
				// An earlier job with the same name had a Job of the same name.
				said = slices.DeleteFunc(said, func(e corev1.Event) bool { return job.LastSeen(e).Before(s.Created) })
				t.Message = firstOf(job.NotCreated(said), t.Message)
			}
		}
	}
}

// eventsAbout are the events of an object; none if they cannot be read.
func (c *Core) eventsAbout(ctx context.Context, namespace string, about fields.Set) []corev1.Event {
	list, err := c.cluster.Clientset().CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: fields.SelectorFromSet(about).String(), Limit: maxTaskEvents})
	if err != nil {
		return nil
	}
	return list.Items
}
