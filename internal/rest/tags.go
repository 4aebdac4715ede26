package rest

import (
	"context"
	"encoding/json"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
)

// AddTag implements ClusterAPI.
func (c *Core) AddTag(ctx context.Context, id JobID, tag string) error {
	return c.changeTags(ctx, id, func(tags []string) (string, error) { return job.AddTag(tags, tag) })
}

// RemoveTag implements ClusterAPI.
func (c *Core) RemoveTag(ctx context.Context, id JobID, tag string) error {
	return c.changeTags(ctx, id, func(tags []string) (string, error) {
		left, had := job.RemoveTag(tags, tag)
		if !had {
			return "", pai.Errorf(pai.CodeNotFound, "", "%w: job %s does not have it", errNoTag, id)
		}
		return left, nil
	})
}

// changeTags changes an annotation of the JobSet, which no controller reads.
func (c *Core) changeTags(ctx context.Context, id JobID, change func([]string) (string, error)) error {
	caller, err := callerOf(ctx)
	if err != nil {
		return err
	}
	if err := c.policy.Authorize(caller, identity.Update, objectOf(id)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err = despiteConflicts(ctx, func() error {
		obj, err := c.find(ctx, id)
		if err != nil {
			return err
		}
		before := obj.GetAnnotations()[pai.AnnotationTags]
		after, err := change(job.ReadTags(before))
		if err != nil || after == before {
			return err
		}
		var value any = after
		if after == "" {
			value = nil
		}
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
			"resourceVersion": obj.GetResourceVersion(), "annotations": map[string]any{pai.AnnotationTags: value},
		}})
		if err != nil {
			return err
		}
		return c.cluster.PatchUnchanged(ctx, kube.RefOf(obj), patch)
	})
	if err != nil {
		err = apiErrorUnlessKnown("change the tags of the job", err)
	}
	return err
}

// objectOf is a job for identity.Policy: a job belongs to the user in its ID.
func objectOf(id JobID) identity.Object {
	return identity.Object{Kind: identity.Job, Name: id.String(), Owner: id.User}
}
