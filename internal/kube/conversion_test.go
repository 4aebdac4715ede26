package kube

import (
	"errors"
	"fmt"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"pai.dev/pai/internal/poll"
)

// Only a webhook of the service that fails says something about that service alone.
// Anything else leaves all services unknown.
func TestNotConverted(t *testing.T) {
	t.Parallel()
	webhook := apierrors.NewInternalError(errors.New(`StorageError: corrupt object, Key: /kueue.x-k8s.io/clusterqueues/default: conversion webhook for kueue.x-k8s.io/v1beta2, Kind=ClusterQueue failed: Post "https://x": connection refused`))
	for _, test := range []struct {
		err  error
		want bool
	}{
		{webhook, true},
		{fmt.Errorf("observe service kueue: %w", &poll.TimeoutError{For: "the API server", Last: fmt.Errorf("the API server failed: %w", webhook)}), true},
		{apierrors.NewInternalError(errors.New("etcdserver: request timed out")), false},
		{apierrors.NewServiceUnavailable("conversion webhook"), false},
		{apierrors.NewForbidden(schema.GroupResource{Resource: "clusterqueues"}, "default", errors.New("conversion webhook")), false},
		{errors.New("conversion webhook: connection refused"), false},
		{nil, false},
	} {
		if got := NotConverted(test.err); got != test.want {
			t.Errorf("%v: got %v, want %v", test.err, got, test.want)
		}
	}
}
