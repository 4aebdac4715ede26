package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/history"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/rest/openpai"
)

const (
	// maxNamespaceEvents is how many events of a virtual cluster a pass reads.
	maxNamespaceEvents = 20000
	// maxEventText is how much of the message of an event is kept.
	maxEventText = 2 << 10
)

// eventsByPod are the events of the pods of a namespace, by pod; at most
// maxNamespaceEvents.
func (c *Core) eventsByPod(ctx context.Context, namespace string) (map[string][]corev1.Event, error) {
	events, n := map[string][]corev1.Event{}, 0
	options := metav1.ListOptions{FieldSelector: "involvedObject.kind=Pod", Limit: 10 * pageSize}
	for {
		page, err := c.cluster.Clientset().CoreV1().Events(namespace).List(ctx, options)
		if err != nil {
			return nil, fmt.Errorf("list the events of jobs: %w", err)
		}
		for _, e := range page.Items {
			if n++; n > maxNamespaceEvents {
				return events, nil
			}
			e.ManagedFields = nil
			if len(e.Message) > maxEventText {
				e.Message = e.Message[:maxEventText] + "…"
			}
			events[e.InvolvedObject.Name] = append(events[e.InvolvedObject.Name], e)
		}
		if options.Continue = page.Continue; options.Continue == "" {
			return events, nil
		}
	}
}

// notesOf are the events of a job, without those whose version is written, and its
// operations. versions has the versions of all its events by UID, as written has.
func notesOf(s job.Status, events map[string][]corev1.Event, reports []pai.PublishedReport, written map[string]string) (notes []history.Note, versions map[string]string, err error) {
	notes, err = operationNotes(s, reports)
	if err != nil {
		return nil, nil, err
	}
	versions = map[string]string{}
	for role, tasks := range openpai.Roles(s) {
		for _, t := range tasks.Tasks {
			for _, e := range events[t.Pod] {
				versions[string(e.UID)] = e.ResourceVersion
				if written[string(e.UID)] == e.ResourceVersion {
					continue
				}
				read := openpai.ReadEvent(s, role, t, e)
				data, err := json.Marshal(read)
				if err != nil {
					return nil, nil, err
				}
				at, _ := time.Parse(time.RFC3339, read.FirstTimestamp)
				notes = append(notes, history.Note{Kind: history.Event, ID: read.UID, At: at, Data: data})
			}
		}
	}
	return notes, versions, nil
}
